// The studio's LoRA adapters: a weight for each that the model has; one without a weight is not used.
import { $, $$, el } from "./dom.js";
import { number } from "./i18n.js";

const [LEAST, MOST] = [-1, 2];
const area = () => $("#ask .adapters");
const weights = () => $$("input", area());

const partOf = (weight) => (weight - LEAST) / (MOST - LEAST);

function field(name) {
  const shown = el("output");
  const input = el("input", { type: "range", className: "signed", min: LEAST, max: MOST, step: 0.05, value: 0, ariaLabel: name, data: { adapter: name } });
  const show = () => {
    shown.value = number(Number(input.value));
    input.style.setProperty("--at", partOf(input.value));
  };
  input.style.setProperty("--zero", partOf(0));
  input.addEventListener("input", show);
  show();
  return el("label", { className: "field" }, el("span", {}, el("span", {}, name), " ", shown), input);
}

// Offers a model's adapters; those that it has as well keep their weights.
export function offerAdapters(names) {
  const before = readAdapters();
  area().hidden = !names.length;
  $("div", area()).replaceChildren(...names.map(field));
  fillAdapters(before);
}

export const readAdapters = () => weights().map(({ dataset, value }) => ({ name: dataset.adapter, weight: Number(value) })).filter(({ weight }) => weight);

export function fillAdapters(wanted) {
  for (const input of weights()) {
    input.value = wanted.find(({ name }) => name === input.dataset.adapter)?.weight ?? 0;
    input.dispatchEvent(new Event("input"));
  }
}
