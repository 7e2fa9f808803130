// What a grid compares: the values of its two axes, and the request of each cell.
import { readStored } from "./browser-storage.js";
import { check } from "./bulk-file.js";
import { $, $$, el } from "./dom.js";
import { t } from "./i18n.js";

export const MOST_CELLS = 144;
export const NAMES = { steps: t("Steps"), guidance: t("Guidance"), seed: t("Seed"), style: t("Style"), model: t("Model"), prompt: t("Prompt") };
const SUGGESTED = { steps: "2, 4, 8, 16", guidance: "1, 3, 5, 7", seed: "1, 2, 3, 4", prompt: "red apple\ncat face\nrocket" };
const NUMBERS = ["steps", "guidance", "seed"];
const DRAFT = "limner-draft"; // the studio's

const form = $("#plan");
const fields = form.elements;
const list = JSON.parse($("#models").textContent);
export const modelNamed = (name) => list.find((model) => model.name === name);

// --- the form --------------------------------------------------------------------------------------------------------------

export function setUpPlan(onChange) {
  offerChoices();
  fillFromDraft();
  for (const axis of ["x", "y"]) offerValues(axis);
  hideAxes();
  form.addEventListener("input", ({ target }) => {
    if (target.name === "x" || target.name === "y") { offerValues(target.name); hideAxes(); }
    if (target.name === "base_model") offerChoices();
    if (["x", "y", "base_model"].includes(target.name)) for (const axis of ["x", "y"]) if (fields[axis].value === "style" && axis !== target.name) offerValues(axis);
    onChange();
  });
  onChange();
}

// The styles of the model that draws, or of all where models are compared.
function stylesOffered() {
  const isCompared = [fields.x.value, fields.y.value].includes("model");
  return [...new Set((isCompared ? list : [modelNamed(fields.base_model.value)]).flatMap(({ styles }) => styles))];
}

// Checkboxes for what a model names itself; text for the rest.
function offerValues(axis) {
  const name = fields[axis].value;
  const choices = { model: list.map((model) => [model.name, model.title]), style: stylesOffered().map((style) => [style, style]) }[name];
  const label = axis === "x" ? t("Columns: %(name)s", { name: NAMES[name] }) : t("Rows: %(name)s", { name: NAMES[name] });
  const boxes = choices && el("div", { className: "chips", aria: { role: "group", label } }, choices.map(([value, text]) => el("label", { className: "check chip-check" }, el("input", { type: "checkbox", name: `${axis}_value`, value, checked: true }), text)));
  const text = !choices && (name === "prompt" ? el("textarea", { name: `${axis}_value`, rows: 3, value: SUGGESTED.prompt }) : el("input", { name: `${axis}_value`, value: SUGGESTED[name], inputMode: "text", autocomplete: "off" }));
  const hint = name === "prompt" ? t("One a line") : t("Separated by commas");
  $(`[data-axis=${axis}] .values`).replaceChildren(boxes || el("label", { className: "field" }, el("span", { className: "sr" }, label), text, el("small", {}, hint)));
}

function offerChoices() {
  const model = modelNamed(fields.base_model.value);
  const fill = (select, values, text = (value) => value) => { const before = select.value; select.replaceChildren(...values.map((value) => new Option(text(value), value))); if (values.includes(before)) select.value = before; };
  fill(fields.base_style, model.styles);
  fill(fields.base_size, model.sizes, (value) => value.replace("x", " × "));
  for (const name of ["steps", "guidance"]) Object.assign(fields[`base_${name}`], { min: model[name].min, max: model[name].max, value: model[name].default });
}

function fillFromDraft() {
  const draft = readStored(DRAFT, {});
  if (modelNamed(draft.model)) { fields.base_model.value = draft.model; offerChoices(); }
  for (const name of ["prompt", "style", "size", "steps", "guidance", "seed"]) {
    const input = fields[`base_${name}`];
    const fits = input.tagName !== "SELECT" || [...input.options].some(({ value }) => value === draft[name]);
    if (draft[name] && fits) input.value = draft[name];
  }
}

// What is an axis has no common value.
function hideAxes() {
  for (const element of $$("[data-base]", form)) {
    const name = element.dataset.base;
    element.hidden = [fields.x.value, fields.y.value].includes(name) || (name === "model" && list.length === 1);
  }
}

// --- the plan --------------------------------------------------------------------------------------------------------------

function valuesOf(axis) {
  const name = fields[axis].value;
  const inputs = $$(`[name=${axis}_value]`, form);
  if (inputs[0].type === "checkbox") return inputs.filter(({ checked }) => checked).map(({ value }) => value);
  const texts = inputs[0].value.split(name === "prompt" ? "\n" : /[,;\s]+/).map((text) => text.trim()).filter(Boolean);
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
  if (columns.length * rows.length > MOST_CELLS) return { problem: t("A grid may have at most %(most)s pictures; this one has %(n)s.", { most: MOST_CELLS, n: columns.length * rows.length }) };
  const base = readBase();
  const requests = rows.flatMap((row) => columns.map((column) => requestOf({ ...base, [x]: column, [y]: row }, x, y)));
  const problem = requests.map((request) => rangeProblem(request) || check(request, list)).find(Boolean);
  return problem ? { problem } : { columns, rows, requests };
}

// One seed for all cells. It stays until the grid is accepted, so that sending the grid again asks for the same one.
const newSeed = () => Math.floor(Math.random() * 2 ** 32);
let randomSeed = newSeed();
export const changeSeed = () => { randomSeed = newSeed(); };

function readBase() {
  const [width, height] = fields.base_size.value.split("x").map(Number);
  const numberIn = (name) => (fields[`base_${name}`].value === "" ? undefined : Number(fields[`base_${name}`].value));
  return { prompt: fields.base_prompt.value.trim(), model: fields.base_model.value, style: fields.base_style.value || undefined, width, height, steps: numberIn("steps"), guidance: numberIn("guidance"), seed: numberIn("seed") ?? randomSeed };
}

// One cell's request. What its model cannot take and is not compared is left to the model.
function requestOf(values, x, y) {
  const model = modelNamed(values.model);
  const request = { ...values, n: 1, metadata: { grid: { x: [x, labelOf(x, values[x])], y: [y, labelOf(y, values[y])] } } };
  const isAxis = (name) => name === x || name === y;
  for (const name of ["steps", "guidance"]) if (!isAxis(name) && isOutside(model[name], request[name])) delete request[name];
  if (!isAxis("style") && !model.styles.includes(request.style)) delete request.style;
  if (!model.sizes.includes(`${request.width}x${request.height}`)) { delete request.width; delete request.height; }
  return request;
}

const isOutside = ({ min, max }, value) => value === undefined || value < min || value > max;

function rangeProblem(request) {
  const model = modelNamed(request.model);
  const name = ["steps", "guidance"].find((each) => request[each] !== undefined && isOutside(model[each], request[each]));
  return name && t("“%(name)s” of %(model)s may be %(least)s to %(most)s, not %(value)s.", { name: NAMES[name], model: model.title, least: model[name].min, most: model[name].max, value: request[name] });
}

const labelOf = (name, value) => (name === "model" ? modelNamed(value).title : String(value));
