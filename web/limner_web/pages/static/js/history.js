// The operator's charts of the last hour: the queue, what was finished and what failed, and how long it took.
import { getJson } from "./api.js";
import { chart, sinceFirst } from "./chart.js";
import { $, el } from "./dom.js";
import { number, t, time } from "./i18n.js";

const REFRESH_MS = 30_000;
const MINUTES = 60;
const LEAST_MINUTES = 15;
let loadedAt = 0;

const seconds = (value) => (value === null ? "–" : value < 100 ? t("%(n)s s", { n: number(value, { maximumFractionDigits: value < 10 ? 1 : 0 }) }) : t("%(n)s min", { n: number(Math.round(value / 60)) }));
const told = (at, words) => `${time(at)}: ${words}`;
const endsOf = (items) => [items.length < MINUTES ? time(items[0].at) : t("an hour ago"), t("now")];
const known = (values) => values.filter((value) => value !== null);

function card(title, legend, image) {
  const marks = legend.map(([className, text]) => el("li", {}, el("i", { className }), text));
  return el("figure", { className: "panel" }, el("figcaption", {}, el("h3", {}, title), el("ul", { className: "legend" }, marks)), image);
}

function waitingCard(items) {
  const values = items.map(({ waiting }) => waiting);
  const now = known(values).at(-1);
  const tells = items.map(({ at, waiting }) => told(at, waiting === null ? t("not measured") : t("%(n)s waiting", { n: number(waiting) })));
  const label = known(values).length ? t("Waiting jobs in the last hour: now %(now)s, at most %(most)s", { now: number(now), most: number(Math.max(...known(values))) }) : t("Waiting jobs: not measured in the last hour");
  return card(t("Waiting"), [["first", now === undefined ? t("not measured") : t("%(n)s now", { n: number(now) })]], chart({ series: [{ values, className: "first" }], kind: "lines", tells, ends: endsOf(items), label }));
}

function finishedCard(items) {
  const [done, failed] = ["succeeded", "failed"].map((name) => items.map((item) => item[name]));
  const [all, bad] = [done, failed].map((values) => values.reduce((sum, value) => sum + value, 0));
  const tells = items.map((item) => told(item.at, t("%(done)s finished, %(failed)s failed", { done: number(item.succeeded), failed: number(item.failed) })));
  const series = [{ values: done, className: "good" }, { values: failed, className: "bad" }];
  return card(t("Jobs a minute"), [["good", t("%(n)s finished", { n: number(all) })], ["bad", t("%(n)s failed", { n: number(bad) })]], chart({ series, kind: "bars", tells, ends: endsOf(items), label: t("Jobs in the last hour: %(done)s finished, %(failed)s failed", { done: number(all), failed: number(bad) }) }));
}

function timeCard(items) {
  const [median, p90] = ["median_seconds", "p90_seconds"].map((name) => items.map((item) => item[name]));
  const [middle, most] = [median, p90].map((values) => known(values).at(-1) ?? null);
  const tells = items.map((item) => told(item.at, t("median %(median)s, nine of ten within %(most)s", { median: seconds(item.median_seconds), most: seconds(item.p90_seconds) })));
  const series = [{ values: median, className: "first" }, { values: p90, className: "second" }];
  return card(t("Seconds until finished"), [["first", t("median %(time)s", { time: seconds(middle) })], ["second", t("nine of ten %(time)s", { time: seconds(most) })]], chart({ series, kind: "lines", tells, ends: endsOf(items), label: t("Time until a job is finished, lately: median %(median)s, nine of ten within %(most)s", { median: seconds(middle), most: seconds(most) }) }));
}

// Draws the charts if they are older than half a minute.
export async function showHistory() {
  if (Date.now() - loadedAt < REFRESH_MS) return;
  loadedAt = Date.now();
  const items = sinceFirst((await getJson("queues/history")).items, ({ waiting, succeeded, failed }) => waiting !== null || succeeded + failed > 0, LEAST_MINUTES);
  $("#hour").replaceChildren(waitingCard(items), finishedCard(items), timeCard(items));
}
