// Suggestions in the prompt: names that the chosen model was trained with. Without them, or without scripts, the prompt
// is a plain field.
import { getJson } from "./api.js";
import { el } from "./dom.js";
import { form, modelChosen } from "./form.js";
import { isEnglish, t } from "./i18n.js";
import { addShortcuts } from "./keymap.js";

const MOST_SHOWN = 6;
const LONGEST = 6; // words, or characters of a script without spaces, of a name
const SHORTEST = 2;
const EMPTY_MS = 60_000; // after which names are asked for again: a worker may have started
const WIDE = /[\u2e80-\u9fff\uac00-\ud7af\uf900-\ufaff]/u;
const prompt = form?.elements.prompt;
const list = el("ul", { className: "menu suggestions", id: "suggestions", popover: "manual", ariaLabel: t("Known names"), aria: { role: "listbox" } });
const known = new Map(); // model -> promise of its names
let shown = []; // {name, length}: the last `length` characters of `before` become the name
let before = ""; // the prompt up to the cursor, as it was when the names were found
let active = -1;

const plain = (text) => text.normalize("NFKD").replace(/\p{M}/gu, "").toLowerCase();

// The names in the reader's language first, then the English ones, which every model knows.
async function load(model) {
  const languages = isEnglish ? ["en"] : [document.documentElement.lang, "en"];
  const lists = await Promise.all(languages.map((language) => getJson(`models/${encodeURIComponent(model)}/names?language=${language}`)));
  return [...new Set(lists.flatMap(({ items }) => items))].map((name) => ({ name, key: ` ${plain(name)}` }));
}

function namesOf(model) {
  if (!known.has(model)) {
    known.set(model, load(model).catch(() => []).then((names) => {
      if (!names.length) setTimeout(() => known.delete(model), EMPTY_MS);
      return names;
    }));
  }
  return known.get(model);
}

// The ends of a text that may be the beginning of a name, the longest first.
function endings(text) {
  const words = text.match(/\S+/gu) ?? [];
  const spaced = Array.from({ length: Math.min(LONGEST, words.length) }, (_, at) => text.slice(text.lastIndexOf(words.slice(-1 - at).join(" "))));
  const last = [...(words.at(-1) ?? "")];
  const unspaced = WIDE.test(last.at(-1) ?? "") ? last.slice(-LONGEST).map((_, at, all) => all.slice(at).join("")) : [];
  return [...new Set([...spaced.reverse(), ...unspaced])].filter((each) => each.length >= SHORTEST || WIDE.test(each));
}

function matches(names, text) {
  const found = new Map();
  for (const ending of endings(text)) {
    const key = plain(ending);
    const begins = names.filter((each) => each.key.startsWith(` ${key}`)).sort((a, b) => a.key.length - b.key.length);
    const contains = names.filter((each) => each.key.includes(` ${key}`, 1));
    for (const { name } of [...begins, ...contains]) {
      if (found.size >= MOST_SHOWN) break;
      if (!found.has(name) && plain(name) !== key) found.set(name, ending.length);
    }
  }
  return [...found].map(([name, length]) => ({ name, length }));
}

function close() {
  if (list.matches(":popover-open")) list.hidePopover();
  shown = [];
  activate(-1);
}

function activate(at) {
  active = at;
  [...list.children].forEach((each, index) => each.setAttribute("aria-selected", index === at));
  if (at < 0) prompt.removeAttribute("aria-activedescendant");
  else prompt.setAttribute("aria-activedescendant", list.children[at].id);
}

function place() {
  const { top, bottom, left, width } = prompt.getBoundingClientRect();
  const isBelow = bottom + list.offsetHeight + 8 < innerHeight;
  Object.assign(list.style, { left: `${left}px`, width: `${width}px`, top: `${isBelow ? bottom + 4 : Math.max(8, top - list.offsetHeight - 4)}px` });
}

function accept({ name, length }) {
  if (prompt.value.startsWith(before)) {
    prompt.setRangeText(name, before.length - length, before.length, "end"); // the cursor may have moved
    prompt.dispatchEvent(new Event("input", { bubbles: true }));
  }
  close();
}

async function suggest() {
  const text = prompt.value.slice(0, prompt.selectionStart);
  const names = text.trim() ? await namesOf(modelChosen().name) : [];
  if (text !== prompt.value.slice(0, prompt.selectionStart) || document.activeElement !== prompt) return; // typed on meanwhile
  shown = matches(names, text);
  before = text;
  if (!shown.length) { close(); return; }
  list.replaceChildren(...shown.map((each, at) => el("li", { id: `suggestion-${at}`, onclick: () => accept(each), aria: { role: "option" } }, each.name)));
  activate(-1);
  if (!list.matches(":popover-open")) list.showPopover();
  place();
}

// Before the form's own listener: Enter takes a suggestion only if one is chosen, and draws otherwise.
function onKey(event) {
  if (!shown.length || event.isComposing) return;
  const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  const isTaken = active >= 0 && ["Enter", "Tab"].includes(event.key);
  if (step) activate((active + step + shown.length + (active < 0 && step < 0 ? 1 : 0)) % shown.length);
  else if (isTaken) accept(shown[active]);
  else if (event.key === "Escape") close();
  else { if (["Enter", "Tab"].includes(event.key)) close(); return; }
  event.preventDefault();
  event.stopImmediatePropagation();
}

export function setUpSuggestions() {
  prompt.closest("label").after(list);
  prompt.setAttribute("autocomplete", "off");
  prompt.setAttribute("aria-autocomplete", "list");
  prompt.setAttribute("aria-haspopup", "listbox");
  prompt.setAttribute("aria-controls", list.id);
  prompt.addEventListener("input", ({ isTrusted, isComposing }) => { if (isTrusted && !isComposing) suggest(); });
  prompt.addEventListener("compositionend", suggest);
  prompt.addEventListener("keydown", onKey, { capture: true });
  prompt.addEventListener("blur", close);
  list.addEventListener("pointerdown", (event) => event.preventDefault()); // the prompt keeps the focus
  addEventListener("resize", close);
  addShortcuts({ keys: ["ArrowDown", "Enter"], text: t("In the prompt: choose and take a known name") });
}
