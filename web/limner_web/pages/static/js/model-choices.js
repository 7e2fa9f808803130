// What a model's card lets a form offer, for the forms of several pages.
import { t } from "./i18n.js";

// Fills a list, in which what was chosen stays if it is still offered.
export function offer(select, values, text = (value) => value) {
  const { value: before } = select;
  select.replaceChildren(...values.map((value) => new Option(text(value), value)));
  if (values.includes(before)) select.value = before;
}

export const sizeText = (size) => size.replace("x", " × ");
export const samplerText = (name) => name || t("default");
const qualityText = (model) => (value) => (value ? t("best of %(n)s", { n: model.candidates }) : t("standard"));

export const offerSizes = (select, { sizes }) => offer(select, sizes, sizeText);
export const offerSamplers = (select, { schedulers }) => offer(select, ["", ...schedulers], samplerText);
export const offerQualities = (select, model) => offer(select, model.candidates > 1 ? ["", "best"] : [""], qualityText(model));

export const can = (model, task) => model.tasks.includes(task);
