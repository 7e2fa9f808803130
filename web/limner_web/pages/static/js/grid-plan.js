// What a grid compares: the values of its two axes, and the request of each cell.
import { readStored } from "./browser-storage.js";
import { check } from "./bulk-file.js";
import { $, $$, el } from "./dom.js";
import { isStarted, setUpStart, startFields, startFrom } from "./grid-start.js";
import { t } from "./i18n.js";
import { can, offer, offerQualities, offerSamplers, offerSizes, samplerText, sizeText } from "./model-choices.js";
import { toast } from "./toast.js";

export const MOST_CELLS = 144;
export const NAMES = { steps: t("Steps"), guidance: t("Guidance"), seed: t("Seed"), style: t("Style"), model: t("Model"), prompt: t("Prompt"), negative_prompt: t("Exclude"), size: t("Size"), scheduler: t("Sampler"), strength: t("Change") };
const SUGGESTED = { steps: "2, 4, 8, 16", guidance: "1, 3, 5, 7", seed: "1, 2, 3, 4", strength: "0.3, 0.5, 0.7, 0.9", prompt: "red apple\ncat face\nrocket", negative_prompt: "" };
const NUMBERS = ["steps", "guidance", "seed", "strength"];
const TEXTS = ["prompt", "negative_prompt"];
const DRAFT = "limner-draft"; // the studio's

const form = $("#plan");
const fields = form.elements;
const list = JSON.parse($("#models").textContent);
export const modelNamed = (name) => list.find((model) => model.name === name);

// What a model can take of what not all models can.
const startsFrom = (model) => can(model, "image-to-image");
const TAKES = {
  style: ({ styles }) => styles.length > 0, scheduler: ({ schedulers }) => schedulers.length > 0, quality: ({ candidates }) => candidates > 1,
  negative_prompt: (model) => model.negative_prompts, strength: startsFrom, size: () => true,
};
const takes = (model, name) => !TAKES[name] || TAKES[name](model);

export const anyStarts = list.some(startsFrom);

// --- the form --------------------------------------------------------------------------------------------------------------

export function setUpPlan(onChange) {
  setUpStart(() => modelsDrawing().some(startsFrom), onChange);
  offerChoices();
  fillFromDraft();
  for (const axis of ["x", "y"]) offerValues(axis);
  hideRest();
  form.addEventListener("input", ({ target }) => {
    if (target.name === "base_model") offerChoices();
    if (["x", "y", "base_model"].includes(target.name)) offerAxes(target.name);
    hideRest();
    onChange();
  });
  onChange();
}

// Starts from a picture that was drawn; with a model that can.
export function startPlanFrom(id) {
  const able = list.find(startsFrom);
  if (!modelsDrawing().some(startsFrom)) {
    fields.base_model.value = able.name;
    fields.base_model.dispatchEvent(new Event("input", { bubbles: true }));
    toast(t("%(model)s can start from a picture, so it is chosen now.", { model: able.title }));
  }
  startFrom(id);
  $(".start", form).scrollIntoView({ block: "nearest" });
}

// The model that draws, or all where models are compared.
const modelsDrawing = () => ([fields.x.value, fields.y.value].includes("model") ? list : [modelNamed(fields.base_model.value)]);
const namedBy = (key) => [...new Set(modelsDrawing().flatMap((model) => model[key]))];

// What a model names itself, as [value, text].
function choicesOf(name) {
  if (name === "model") return list.map((model) => [model.name, model.title]);
  if (name === "style") return namedBy("styles").map((style) => [style, style]);
  if (name === "size") return namedBy("sizes").map((size) => [size, sizeText(size)]);
  return name === "scheduler" ? ["", ...namedBy("schedulers")].map((each) => [each, samplerText(each)]) : null;
}

// After a change of an axis or of the model: an axis that no model has becomes another one, and the choices are theirs.
function offerAxes(changed) {
  for (const axis of ["x", "y"]) {
    const { value } = fields[axis];
    for (const option of fields[axis].options) option.hidden = option.disabled = !modelsDrawing().some((model) => takes(model, option.value));
    if (fields[axis].selectedOptions[0].disabled) fields[axis].value = axis === "x" ? "steps" : "guidance";
    if (axis === changed || fields[axis].value !== value || choicesOf(value)) offerValues(axis);
  }
}

// Checkboxes for what a model names itself; text for the rest.
function offerValues(axis) {
  const name = fields[axis].value;
  const choices = choicesOf(name);
  const label = axis === "x" ? t("Columns: %(name)s", { name: NAMES[name] }) : t("Rows: %(name)s", { name: NAMES[name] });
  const unchecked = new Set($$(`[type=checkbox][name=${axis}_value]:not(:checked)`, form).map(({ value }) => value));
  const boxes = choices && el("div", { className: "chips", aria: { role: "group", label } }, choices.map(([value, text]) => el("label", { className: "check chip-check" }, el("input", { type: "checkbox", name: `${axis}_value`, value, checked: !unchecked.has(value) }), text)));
  const isText = TEXTS.includes(name);
  const text = !choices && (isText ? el("textarea", { name: `${axis}_value`, rows: 3, value: SUGGESTED[name], placeholder: name === "prompt" ? "" : t("things the picture should not show") }) : el("input", { name: `${axis}_value`, value: SUGGESTED[name], inputMode: "text", autocomplete: "off" }));
  const hint = isText ? t("One a line") : t("Separated by commas");
  $(`[data-axis=${axis}] .values`).replaceChildren(boxes || el("label", { className: "field" }, el("span", { className: "sr" }, label), text, el("small", {}, hint)));
}

function offerChoices() {
  const model = modelNamed(fields.base_model.value);
  offer(fields.base_style, model.styles);
  offerSizes(fields.base_size, model);
  offerSamplers(fields.base_scheduler, model);
  offerQualities(fields.base_quality, model);
  for (const name of ["steps", "guidance"]) Object.assign(fields[`base_${name}`], { min: model[name].min, max: model[name].max, value: model[name].default });
}

function fillFromDraft() {
  const draft = readStored(DRAFT, {});
  if (modelNamed(draft.model)) { fields.base_model.value = draft.model; offerChoices(); }
  for (const name of ["prompt", "negative_prompt", "style", "size", "scheduler", "quality", "steps", "guidance", "seed"]) {
    const input = fields[`base_${name}`];
    const fits = input.tagName !== "SELECT" || [...input.options].some(({ value }) => value === draft[name]);
    if (draft[name] && fits) input.value = draft[name];
  }
  offerAxes("");
}

// What is an axis has no common value, and what no model takes has none.
function hideRest() {
  const models = modelsDrawing();
  const isAxis = (name) => [fields.x.value, fields.y.value].includes(name);
  for (const element of $$("[data-base]", form)) {
    const name = element.dataset.base;
    element.hidden = isAxis(name) || (name === "model" && list.length === 1) || !models.some((model) => takes(model, name));
  }
  $(".start", form).hidden = !models.some(startsFrom);
}

// --- the plan --------------------------------------------------------------------------------------------------------------

function valuesOf(axis) {
  const name = fields[axis].value;
  const inputs = $$(`[name=${axis}_value]`, form);
  if (inputs[0].type === "checkbox") return inputs.filter(({ checked }) => checked).map(({ value }) => value);
  const texts = inputs[0].value.split(TEXTS.includes(name) ? "\n" : /[,;\s]+/).map((text) => text.trim()).filter(Boolean);
  return [...new Set(texts)].map((text) => (NUMBERS.includes(name) ? Number(text) : text));
}

// The whole grid: {columns, rows, requests} in reading order, or {problem} in words.
export function readPlan() {
  const [x, y] = [fields.x.value, fields.y.value];
  if (x === y) return { problem: t("Columns and rows both compare “%(name)s”. Choose two different parameters.", { name: NAMES[x] }) };
  const [columns, rows] = [valuesOf("x"), valuesOf("y")];
  for (const [name, values] of [[x, columns], [y, rows]]) {
    if (!values.length) return { problem: t("Give at least one value for “%(name)s”.", { name: NAMES[name] }) };
    const wrong = NUMBERS.includes(name) && values.find((value) => !Number.isFinite(value) || value < 0);
    if (wrong !== false && wrong !== undefined) return { problem: t("“%(name)s” takes numbers, separated by commas.", { name: NAMES[name] }) };
  }
  if ([x, y].includes("strength") && !isStarted()) return { problem: t("Choose a picture to start from: “%(name)s” changes it.", { name: NAMES.strength }) };
  if (columns.length * rows.length > MOST_CELLS) return { problem: t("A grid may have at most %(most)s pictures; this one has %(n)s.", { most: MOST_CELLS, n: columns.length * rows.length }) };
  const base = readBase();
  const requests = rows.flatMap((row) => columns.map((column) => requestOf({ ...base, [x]: column, [y]: row }, x, y)));
  const problem = requests.map((request) => problemOf(request, [x, y])).find(Boolean);
  return problem ? { problem } : { columns, rows, requests };
}

// One seed for all cells. It stays until the grid is accepted, so that sending the grid again asks for the same one.
const newSeed = () => Math.floor(Math.random() * 2 ** 32);
let randomSeed = newSeed();
export const changeSeed = () => { randomSeed = newSeed(); };

function readBase() {
  const numberIn = (name) => (fields[`base_${name}`].value === "" ? undefined : Number(fields[`base_${name}`].value));
  const textIn = (name) => fields[`base_${name}`].value.trim() || undefined;
  return {
    prompt: fields.base_prompt.value.trim(), negative_prompt: textIn("negative_prompt"), model: fields.base_model.value, style: textIn("style"), size: fields.base_size.value,
    steps: numberIn("steps"), guidance: numberIn("guidance"), seed: numberIn("seed") ?? randomSeed, scheduler: textIn("scheduler"), quality: textIn("quality"), ...startFields(),
  };
}

// One cell's request. What its model cannot take and is not compared is left to the model.
function requestOf({ size, ...values }, x, y) {
  const model = modelNamed(values.model);
  const [width, height] = size.split("x").map(Number);
  const request = { ...values, width, height, n: 1, metadata: { grid: { x: [x, labelOf(x, { ...values, size }[x])], y: [y, labelOf(y, { ...values, size }[y])] } } };
  const leaveOut = (...names) => { for (const name of names) delete request[name]; };
  const isAxis = (name) => name === x || name === y;
  for (const name of ["steps", "guidance"]) if (!isAxis(name) && isOutside(model[name], request[name])) leaveOut(name);
  if (!isAxis("style") && !model.styles.includes(request.style)) leaveOut("style");
  if (!request.scheduler || (!isAxis("scheduler") && !model.schedulers.includes(request.scheduler))) leaveOut("scheduler");
  if (!isAxis("size") && !model.sizes.includes(size)) leaveOut("width", "height");
  for (const name of ["negative_prompt", "quality"]) if (!isAxis(name) && !takes(model, name)) leaveOut(name);
  if (!isAxis("strength") && !startsFrom(model)) leaveOut("image", "strength");
  return request;
}

const isOutside = ({ min, max }, value) => value === undefined || value < min || value > max;
const LIMITS = { strength: () => ({ min: 0.01, max: 1 }), steps: ({ steps }) => steps, guidance: ({ guidance }) => guidance };

// What is wrong with a cell that compares these two.
function problemOf(request, axes) {
  const model = modelNamed(request.model);
  const lacking = axes.find((name) => request[name] !== undefined && !takes(model, name)) ?? (request.scheduler && !model.schedulers.includes(request.scheduler) && "scheduler");
  if (lacking) return t("%(model)s does not take “%(name)s”.", { model: model.title, name: NAMES[lacking] });
  const name = Object.keys(LIMITS).find((each) => request[each] !== undefined && isOutside(LIMITS[each](model), request[each]));
  if (name) return t("“%(name)s” of %(model)s may be %(least)s to %(most)s, not %(value)s.", { name: NAMES[name], model: model.title, least: LIMITS[name](model).min, most: LIMITS[name](model).max, value: request[name] });
  return check(request, list);
}

function labelOf(name, value) {
  if (name === "model") return modelNamed(value).title;
  if (name === "size") return sizeText(value);
  return name === "scheduler" ? samplerText(value) : String(value);
}
