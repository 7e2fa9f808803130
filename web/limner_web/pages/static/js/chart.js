// Charts as SVG: lines and stacked bars of equal steps in time. Their colours come from the page's styles.
import { number, t } from "./i18n.js";

const WIDTH = 380;
const HEIGHT = 132;
const BLANK_HEIGHT = 56;
const BOX = { left: 46, right: WIDTH - 4, top: 10, bottom: HEIGHT - 20 };

export function svg(name, attributes, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
}

// The least of 1, 2, 4, 6, 10, 20 … that is not below a number; its half is as round.
function roundUp(number) {
  const power = 10 ** Math.floor(Math.log10(Math.max(number, 1)));
  return [1, 2, 4, 6, 10].map((factor) => factor * power).find((each) => each >= number);
}

const short = (value) => number(value, { notation: value >= 10_000 ? "compact" : "standard", maximumFractionDigits: 1 });

// A line with gaps where there is no value; a value between two gaps is a dot.
function line({ values, className }, x, y) {
  const isKnown = (at) => (values[at] ?? null) !== null;
  const known = values.map((value, at) => at).filter(isKnown);
  const path = known.map((at) => `${isKnown(at - 1) ? "L" : "M"}${x(at + 0.5)} ${y(values[at])}`);
  const dots = known.filter((at) => !isKnown(at - 1) && !isKnown(at + 1)).map((at) => svg("circle", { class: className, cx: x(at + 0.5), cy: y(values[at]), r: 2.6 }));
  return svg("g", {}, svg("path", { class: className, d: path.join("") }), ...dots);
}

function bars(series, x, y) {
  const sums = series[0].values.map(() => 0);
  return series.flatMap(({ values, className }) => values.map((value, at) => {
    if (!value) return null;
    const base = sums[at];
    sums[at] += value;
    return svg("rect", { class: className, x: x(at) + 0.5, width: Math.max(1, x(1) - x(0) - 1), y: y(sums[at]), height: y(base) - y(sums[at]) });
  })).filter(Boolean);
}

// What stands where there is nothing to draw: words, in a lower frame than a chart's.
function blank(label) {
  const text = svg("text", { x: WIDTH / 2, y: BLANK_HEIGHT / 2, "text-anchor": "middle", "dominant-baseline": "middle", class: "blank" }, t("Nothing in this time"));
  return svg("svg", { class: "plot", viewBox: `0 0 ${WIDTH} ${BLANK_HEIGHT}`, role: "img", "aria-label": label }, text);
}

// The latest of some steps in time, from the first of which anything is known, but at least `least` of them: what has
// just begun does not stand at the edge of an empty chart.
export const sinceFirst = (steps, isKnown, least) => steps.slice(Math.max(0, Math.min(steps.findIndex(isKnown), steps.length - least)));

// `series` are {values, className}, with null where a value is not known; `kind` is "lines" or "bars". `tells` has a
// text for each step, `ends` those below the first and the last, and `label` is the text alternative.
export function chart({ series, kind, tells, ends, label }) {
  const steps = series[0].values.length;
  const totals = kind === "bars" ? series[0].values.map((_, at) => series.reduce((sum, { values }) => sum + (values[at] || 0), 0)) : series.flatMap(({ values }) => values);
  const most = roundUp(Math.max(...totals.map((value) => value ?? 0)));
  const x = (at) => BOX.left + ((BOX.right - BOX.left) * at) / steps;
  const y = (value) => BOX.bottom - ((BOX.bottom - BOX.top) * value) / most;
  const hasShape = kind === "bars" ? Boolean : (value) => (value ?? null) !== null; // a line at zero is one
  if (!totals.some(hasShape)) return blank(label);
  const image = svg("svg", { class: "plot", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": label });
  for (const value of most === 1 ? [0, 1] : [0, most / 2, most]) {
    image.append(svg("line", { x1: BOX.left, x2: BOX.right, y1: y(value), y2: y(value) }), svg("text", { x: BOX.left - 6, y: y(value) + 4, "text-anchor": "end" }, short(value)));
  }
  image.append(...(kind === "bars" ? bars(series, x, y) : series.map((each) => line(each, x, y))));
  image.append(svg("text", { x: BOX.left, y: HEIGHT - 4 }, ends[0]), svg("text", { x: BOX.right, y: HEIGHT - 4, "text-anchor": "end" }, ends[1]));
  image.append(...tells.map((text, at) => svg("rect", { class: "tell", x: x(at), width: x(1) - x(0), y: BOX.top, height: BOX.bottom - BOX.top }, svg("title", {}, text))));
  return image;
}
