// How a message was understood, as chips below its picture: each can be corrected, and only that changes.
import { el } from "./dom.js";
import { number, t } from "./i18n.js";
import { openMenu } from "./menu.js";
import { modelNamed } from "./model-list.js";
import { attempt } from "./toast.js";
import { count } from "./words.js";

const NUMBERS = [1, 2, 4, 9, 16];
const STRENGTHS = [0.3, 0.5, 0.8, 1];
const MENU = { haspopup: "menu" };
const CHECKED = { true: "check", false: "minus" };

const styleOf = (job) => job.style ?? (job.images.length === 1 ? job.images[0].style : null);
const sizeWords = (width, height) => `${width} × ${height}`;

// What the picture was made with, so that all of it stays but what is corrected.
const asPercent = (value) => number(value, { style: "percent" });
const keptOf = ({ model, style, width, height, n, seed }) => ({ model, ...(style && { style }), width, height, n, seed });

// What may be chosen instead: [{text, isNow, change}].
const CHOICES = {
  style: ({ styles }, job) => styles.map((style) => ({ text: style, isNow: style === styleOf(job), change: { style } })),
  size: ({ sizes }, job) => sizes.map((size) => size.split("x").map(Number)).map(([width, height]) => ({ text: sizeWords(width, height), isNow: width === job.width && height === job.height, change: { width, height } })),
  start: (_, job) => [
    ...STRENGTHS.map((strength) => ({ text: t("Change it by %(part)s", { part: asPercent(strength) }), isNow: strength === job.strength, change: { strength } })),
    { text: t("Start without a picture"), isNow: false, change: { image: "none" } },
  ],
  n: ({ max_images: most }, job) => NUMBERS.filter((n) => n <= most).map((n) => ({ text: count(n, "picture"), isNow: n === job.n, change: { n } })),
};

function chip(label, shown, onclick, aria = {}) {
  const button = el("button", { type: "button", className: "chip", title: t("Change: %(label)s", { label }), aria, onclick: () => onclick(button) }, el("span", { className: "quiet" }, label), ` ${shown}`);
  return button;
}

// `correct(fields)` asks for the message again with these fields, and `reword()` edits it.
export function understoodChips(job, { correct, reword }) {
  if (!job.interpretation) return [];
  const offer = (name) => (at) => attempt(async () => {
    const model = await modelNamed(job.model);
    if (!model) return;
    openMenu(at, CHOICES[name](model, job).map(({ text, isNow, change }) => ({ icon: CHECKED[isNow], text, onClick: () => { if (!isNow) correct({ ...keptOf(job), ...change }); } })));
  });
  const style = styleOf(job);
  return [
    chip(t("Prompt"), job.revised_prompt, reword),
    (style || job.n > 1) && chip(t("Style"), style ?? t("any"), offer("style"), MENU),
    job.negative_prompt && chip(t("Without"), job.negative_prompt, reword),
    job.image && chip(t("Start picture"), asPercent(job.strength), offer("start"), MENU),
    chip(t("Size"), sizeWords(job.width, job.height), offer("size"), MENU),
    chip(t("Pictures"), job.n, offer("n"), MENU),
    job.interpretation.fallback && el("span", { className: "quiet" }, job.interpretation.fallback),
  ].filter(Boolean);
}
