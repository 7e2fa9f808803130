// The studio's second way to ask: a description is interpreted first, and what was understood can be changed before it
// is drawn. Three states: "prompt", "describe" (nothing interpreted yet) and "understood".
import { send } from "./api.js";
import { $, $$, el } from "./dom.js";
import { focusField, fillUnderstood, form, isExcluding, keepDraft } from "./form.js";

const fields = form?.elements;
const CHIPS = [
  ["n", "Pictures", () => fields.n.value],
  ["style", "Style", () => fields.style.value || (fields.style.options.length ? "any" : "")],
  ["size", "Size", () => fields.size.value.replace("x", " × ")],
  ["negative_prompt", "Without", () => isExcluding() && (fields.negative_prompt.value || "nothing")],
  ["seed", "Seed", () => fields.seed.value || "random"],
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
  $(".draw", form).textContent = next === "describe" ? "Read it" : "Draw";
  keepDraft();
}

const languageName = (code) => { try { return new Intl.DisplayNames(["en"], { type: "language" }).of(code); } catch { return code; } };

// What the page cannot do as asked, and how the description was read.
function remarks({ language, interpretation, dropped_negative: dropped, beyond, request }) {
  const by = interpretation.backend === "server" ? `by ${interpretation.model}` : interpretation.backend === "rules" ? "by rules" : "as it is";
  return [
    `${languageName(language)}, read ${by}.`,
    dropped && `This model cannot leave things out: “${dropped}” may still be drawn.`,
    beyond?.n && `You asked for ${beyond.n} pictures; this model draws ${request.n} at once.`,
    beyond?.size && `You asked for ${beyond.size.join(" × ")}; the nearest that this model draws is chosen below.`,
    beyond?.chars && "The description is longer than this model reads; its end was left out.",
    interpretation.fallback,
  ].filter(Boolean);
}

function showChips() {
  const chips = CHIPS.map(([name, label, value]) => {
    const shown = value();
    return shown && el("button", { type: "button", className: "chip", title: `Change: ${label}`, onclick: () => focusField(name) }, el("span", { className: "quiet" }, label), ` ${shown}`);
  });
  $("#understood .chips").replaceChildren(...chips.filter(Boolean));
}

// Interprets the description and fills the form with what was understood.
export async function understand() {
  const description = fields.description.value.trim();
  const button = $(".draw", form);
  button.disabled = true;
  button.textContent = "Reading …";
  try {
    const told = await send("POST", "interpret", { description, model: fields.model.value });
    fillUnderstood(told.request);
    $(".quoted q", form).textContent = description;
    $("#understood .remarks").replaceChildren(...remarks(told).map((text) => el("li", {}, text)));
    showChips();
    setMode("understood");
    fields.prompt.focus();
  } finally {
    button.disabled = false;
    if (mode() === "describe") button.textContent = "Read it";
  }
}

export function setUpDescribe(draft) {
  $("[data-modes]", form).hidden = false;
  form.addEventListener("click", ({ target }) => {
    const { modeOf } = target.dataset;
    if (modeOf === undefined && !target.closest("[data-reword]")) return;
    setMode(modeOf ?? "describe");
    fields[mode() === "describe" ? "description" : "prompt"].focus();
  });
  form.addEventListener("input", () => { if (mode() === "understood") showChips(); });
  fields.description.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) { event.preventDefault(); form.requestSubmit(); }
  });
  setMode(draft === "describe" || draft === "understood" ? "describe" : "prompt");
}
