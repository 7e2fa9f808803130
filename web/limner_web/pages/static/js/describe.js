// The studio's second way to ask: a description is interpreted first, and what was understood can be changed before it
// is drawn. Three states: "prompt", "describe" (nothing interpreted yet) and "understood".
import { send } from "./api.js";
import { $, $$, el, icon } from "./dom.js";
import { focusField, fillUnderstood, form, isExcluding, keepDraft } from "./form.js";
import { languageName, t } from "./i18n.js";
import { expected, modelsLink, shortLabel } from "./shortcomings.js";

const fields = form?.elements;
const CHIPS = [
  ["n", t("Pictures"), () => fields.n.value],
  ["style", t("Style"), () => fields.style.value || (fields.style.options.length ? t("any") : "")],
  ["size", t("Size"), () => fields.size.value.replace("x", " × ")],
  ["negative_prompt", t("Without"), () => isExcluding() && (fields.negative_prompt.value || t("nothing"))],
  ["seed", t("Seed"), () => fields.seed.value || t("random")],
];

export const mode = () => form.dataset.mode;

export function setMode(next) {
  form.dataset.mode = next;
  const isDescribing = next !== "prompt";
  for (const button of $$("[data-mode-of]", form)) button.setAttribute("aria-pressed", (button.dataset.modeOf === "describe") === isDescribing);
  $(".description", form).hidden = next !== "describe";
  $(".prompt", form).hidden = next === "describe";
  $(".quoted", form).hidden = $("#understood").hidden = next !== "understood";
  $(".examples", form).hidden = isDescribing;
  $(".draw", form).textContent = next === "describe" ? t("Read it") : t("Draw");
  keepDraft();
}

// What the page cannot do as asked, and how the description was read.
function remarks({ language, interpretation, dropped_negative: dropped, beyond, request }) {
  const values = { language: languageName(language), model: interpretation.model };
  const read = interpretation.backend === "server" ? t("%(language)s, read by %(model)s.", values) : interpretation.backend === "rules" ? t("%(language)s, read by rules.", values) : t("%(language)s, read as it is.", values);
  return [
    read,
    dropped && t("This model cannot leave things out: “%(things)s” may still be drawn.", { things: dropped }),
    beyond?.n && t("You asked for %(asked)s pictures; this model draws %(most)s at once.", { asked: beyond.n, most: request.n }),
    beyond?.size && t("You asked for %(size)s; the nearest that this model draws is chosen below.", { size: beyond.size.join(" × ") }),
    beyond?.chars && t("The description is longer than this model reads; its end was left out."),
    interpretation.fallback,
  ].filter(Boolean);
}

// What the picture would not show of the prompt: true as long as neither the prompt nor the model is changed.
function foreseen(told) {
  const missing = expected(told);
  if (!missing.length) return [];
  const { prompt, model } = told.request;
  const label = el("b", {}, icon("warn"), shortLabel(told.scene?.left_out.length));
  return [el("li", { className: "foreseen", data: { prompt, model } }, label, ` ${missing.join(" ")} `, modelsLink(told.request))];
}

function showChips() {
  for (const each of $$("#understood .foreseen")) each.hidden = ["prompt", "model"].some((name) => each.dataset[name] !== fields[name].value);
  const chips = CHIPS.map(([name, label, value]) => {
    const shown = value();
    return shown && el("button", { type: "button", className: "chip", title: t("Change: %(label)s", { label }), onclick: () => focusField(name) }, el("span", { className: "quiet" }, label), ` ${shown}`);
  });
  $("#understood .chips").replaceChildren(...chips.filter(Boolean));
}

// Interprets the description and fills the form with what was understood.
export async function understand() {
  const description = fields.description.value.trim();
  const button = $(".draw", form);
  button.disabled = true;
  button.textContent = t("Reading …");
  try {
    const told = await send("POST", "interpret", { description, model: fields.model.value });
    fillUnderstood(told.request);
    $(".quoted q", form).textContent = description;
    $("#understood .remarks").replaceChildren(...foreseen(told), ...remarks(told).map((text) => el("li", {}, text)));
    showChips();
    setMode("understood");
    fields.prompt.focus();
  } finally {
    button.disabled = false;
    if (mode() === "describe") button.textContent = t("Read it");
  }
}

export function setUpDescribe(draft) {
  form.addEventListener("click", ({ target }) => {
    const { modeOf } = target.dataset;
    if (modeOf === undefined && !target.closest("[data-reword]")) return;
    setMode(modeOf ?? "describe");
    fields[mode() === "describe" ? "description" : "prompt"].focus();
  });
  form.addEventListener("input", () => { if (mode() === "understood") showChips(); });
  fields.description.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) { event.preventDefault(); if (!event.repeat) form.requestSubmit(); }
  });
  setMode(draft === "describe" || draft === "understood" ? "describe" : "prompt");
}
