// The studio's form: what a model allows, reading and filling it, its draft, its errors.
import { fillAdapters, offerAdapters, readAdapters } from "./adapters.js";
import { readStored, store } from "./browser-storage.js";
import { $, $$ } from "./dom.js";
import { setUpEarlierPrompts } from "./earlier-prompts.js";
import { fieldsOf } from "./errors.js";
import { number, t, tn } from "./i18n.js";
import { offer, offerQualities, offerSamplers, offerSizes, sizeText } from "./model-choices.js";

const DRAFT = "limner-draft";
const ANY_STYLE = t("any");
const WEIGHTED = /[^\d\s():]\s*:\s*(\d+(\.\d+)?|\.\d+)\s*\)/; // about what the service reads as a weight
const NAMES = ["prompt", "description", "model", "style", "size", "n", "seed", "steps", "guidance", "negative_prompt", "scheduler", "quality"];
export const form = $("#ask");
const fields = form?.elements;
const lock = form && $("[data-lock]", form);
const list = form ? JSON.parse($("#models").textContent) : [];
export const models = Object.fromEntries(list.map((model) => [model.name, model]));

export const isSeedLocked = () => lock.getAttribute("aria-pressed") === "true";
const setLock = (on) => lock.setAttribute("aria-pressed", on);

export const modelChosen = () => models[fields.model.value];
export const isExcluding = () => modelChosen().negative_prompts;

function offerChoices() {
  const model = modelChosen();
  offer(fields.style, model.styles_by_seed.length ? ["", ...model.styles] : model.styles, (value) => value || ANY_STYLE);
  offerSizes(fields.size, model);
  offerSamplers(fields.scheduler, model);
  offerQualities(fields.quality, model);
  offerAdapters(model.adapters);
  $("[data-field=quality]").hidden = model.candidates === 1;
  $("[data-field=scheduler]").hidden = !model.schedulers.length;
  $("[data-field=size]").hidden = false;
  $("[data-field=style]").hidden = !model.styles.length;
  $("[data-field=negative_prompt]").hidden = !model.negative_prompts;
  $("#about-model").textContent = t(model.description);
  fields.n.max = model.max_images;
  for (const name of ["steps", "guidance"]) {
    const { min, max, default: value } = model[name];
    Object.assign(fields[name], { min, max, value });
  }
  summarise();
}

// A prompt is never cut: which model will draw it may still change.
function tellLength() {
  const [length, most] = [[...fields.prompt.value].length, modelChosen().max_prompt_chars];
  $("[data-too-long]").textContent = length > most ? `${t("The prompt has more than %(n)s characters.", { n: number(most) })} ${number(length)} / ${number(most)}` : "";
}

function summarise() {
  tellLength();
  for (const name of ["steps", "guidance"]) fields[`${name}_shown`].value = number(Number(fields[name].value));
  $("[data-about-weights]").hidden = modelChosen().prompt_weights || !WEIGHTED.test(fields.prompt.value);
  const n = Number(fields.n.value);
  $("[data-summary]").textContent = [fields.style.value, sizeText(fields.size.value), n > 1 && tn("%(n)s picture", "%(n)s pictures", n)].filter(Boolean).join(" · ");
  form.dispatchEvent(new Event("settings"));
}

export function readForm() {
  const [width, height] = fields.size.value.split("x").map(Number);
  const numberIn = (name) => (fields[name].value === "" ? undefined : Number(fields[name].value));
  const adapters = readAdapters();
  return {
    prompt: fields.prompt.value.trim(),
    negative_prompt: (isExcluding() && fields.negative_prompt.value) || undefined,
    model: fields.model.value,
    style: fields.style.value || undefined,
    width, height, n: numberIn("n"), seed: numberIn("seed"), steps: numberIn("steps"), guidance: numberIn("guidance"),
    scheduler: fields.scheduler.value || undefined,
    quality: fields.quality.value || undefined,
    adapters: adapters.length ? adapters : undefined,
  };
}

// What a preset keeps: all but what the picture shows.
export function readSettings() {
  const { prompt, ...settings } = readForm();
  return settings;
}

// Loads what a preset keeps. Returns whether its model is here.
export function fillSettings({ model, width, height, seed, adapters, ...settings }) {
  const isKnown = !model || model in models;
  if (model && isKnown) fields.model.value = model;
  offerChoices();
  setLock(seed !== null);
  fillAdapters(adapters);
  const kept = Object.entries(settings).filter(([, value]) => value !== null);
  setValues({ n: 1, quality: "", scheduler: "", negative_prompt: "", ...Object.fromEntries(kept), seed, ...(width && { size: `${width}x${height}` }) });
  return isKnown;
}

export function chooseModel(name) {
  fields.model.value = name;
  fields.model.dispatchEvent(new Event("input", { bubbles: true }));
}

// Loads what a description was understood as. Steps and guidance stay as they are.
export function fillUnderstood({ prompt, negative_prompt: without, style, width, height, n, seed }) {
  setLock(seed !== null);
  setValues({ prompt, style, n, seed, size: `${width}x${height}`, ...(isExcluding() && { negative_prompt: without }) });
}

// Goes to a setting, which may be folded away.
export function focusField(name) {
  if (fields[name].closest(".settings")) $(".settings").open = true;
  (fields[name].closest("[hidden]") ? $(`[data-stands-for=${name}] :checked`, form) ?? fields[name] : fields[name]).focus();
}

// Loads a job's settings; its seed only if the seed is locked.
export function fillForm(job) {
  if (models[job.model]) fields.model.value = job.model;
  offerChoices();
  const values = { prompt: job.prompt, negative_prompt: job.negative_prompt, style: job.style, size: `${job.width}x${job.height}`, n: job.n, steps: job.steps, guidance: job.guidance, scheduler: job.scheduler, quality: job.candidates > 1 ? "best" : "" };
  fillAdapters(job.adapters ?? []);
  if (isSeedLocked()) values.seed = job.seed;
  setValues(values);
  fields.prompt.focus();
}

export function fillDescription(description) {
  setValues({ description });
  fields.description.focus();
}

// Loads what a file says of itself, as texts; a seed that it names is kept.
export function fillFound({ model, seed, ...found }) {
  if (models[model]) fields.model.value = model;
  offerChoices();
  if (seed) setLock(true);
  const values = { ...found, ...(seed && { seed }), ...(!isExcluding() && { negative_prompt: "" }) };
  setValues(Object.fromEntries(Object.entries(values).filter(([name, value]) => NAMES.includes(name) && (value || name === "negative_prompt"))));
  fields.prompt.focus();
}

function setValues(values) {
  for (const [name, value] of Object.entries(values)) {
    if (fields[name].tagName === "SELECT" && ![...fields[name].options].some((option) => option.value === (value ?? ""))) continue;
    fields[name].value = value ?? "";
  }
  summarise();
  keepDraft();
}

// --- errors --------------------------------------------------------------------------------------------------------

export function showError(error) {
  clearError();
  $("#problem").textContent = error.message;
  $("#problem").hidden = false;
  const names = fieldsOf(error.problem || {}).map((name) => (["width", "height"].includes(name) ? "size" : name));
  const inputs = names.map((name) => fields[name]).filter((input) => input?.setAttribute);
  for (const input of inputs) input.setAttribute("aria-invalid", "true");
  if (inputs.length) focusField(inputs[0].name);
}

export function clearError() {
  $("#problem").hidden = true;
  for (const input of $$("[aria-invalid]", form)) input.removeAttribute("aria-invalid");
}

// --- draft ---------------------------------------------------------------------------------------------------------

export const keepDraft = () => store(DRAFT, { ...Object.fromEntries(NAMES.map((name) => [name, fields[name].value])), adapters: readAdapters(), isLocked: isSeedLocked(), mode: form.dataset.mode, bulks: form.dataset.bulks });

// Returns the draft that it loaded.
export function setUpForm(onSubmit) {
  const draft = readStored(DRAFT, null);
  if (draft && models[draft.model] && !fields.prompt.value) fields.model.value = draft.model;
  offerChoices();
  if (draft && !fields.prompt.value) {
    const { isLocked, ...values } = draft;
    setLock(Boolean(isLocked));
    fillAdapters(values.adapters ?? []);
    setValues(Object.fromEntries(Object.entries(values).filter(([name]) => NAMES.includes(name) && name !== "model")));
  }
  if (matchMedia("(max-width: 56rem)").matches) $(".settings").open = false;
  else fields.prompt.focus();
  form.addEventListener("submit", (event) => { event.preventDefault(); onSubmit(); });
  form.addEventListener("click", ({ target }) => {
    if (target.dataset.example) { setValues({ prompt: target.dataset.example }); fields.prompt.focus(); }
  });
  form.addEventListener("input", ({ target }) => {
    if (target.name === "model") offerChoices();
    if (target.name === "seed") setLock(target.value !== "");
    summarise();
    keepDraft();
  });
  lock.addEventListener("click", () => {
    setLock(!isSeedLocked());
    if (!isSeedLocked()) fields.seed.value = "";
    keepDraft();
  });
  fields.prompt.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) { event.preventDefault(); if (!event.repeat) form.requestSubmit(); }
  });
  setUpEarlierPrompts(fields.prompt, (prompt) => setValues({ prompt }));
  return draft;
}
