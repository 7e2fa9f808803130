// Keyboard shortcuts of the page, and the map of them that `?` shows.
import { el, icon } from "./dom.js";
import { t } from "./i18n.js";

const shortcuts = [{ keys: ["?"], text: t("Show this map"), run: showMap }];
const NAMES = { ArrowLeft: "←", ArrowRight: "→", ArrowUp: "↑", ArrowDown: "↓", "-": "−", " ": t("Space"), Ctrl: t("Ctrl"), Delete: t("Del"), Enter: t("Enter"), Escape: t("Esc"), Shift: t("Shift"), click: t("click") };
const POPOVER = ":is([popover='auto'], [popover='']):popover-open";

// Adds {keys, text, run, group}; a key such as "Ctrl+Enter" also works while typing. Without `run` it is only listed, as
// those of a dialog are, under the heading `group`.
export const addShortcuts = (...more) => { shortcuts.push(...more); };

// Whether the key goes to a field.
export const isTyping = ({ target }) => target.isContentEditable || ["TEXTAREA", "SELECT"].includes(target.tagName) || (target.tagName === "INPUT" && !["checkbox", "radio", "range"].includes(target.type));

document.addEventListener("keydown", (event) => {
  if (event.defaultPrevented || (event.key !== "?" && document.querySelector("dialog[open]")) || document.querySelector("dialog.keys")) return;
  const name = (event.ctrlKey || event.metaKey ? "Ctrl+" : "") + event.key;
  if (name === "Escape" && document.querySelector(POPOVER)) return; // which the browser closes
  const found = shortcuts.find(({ keys, run }) => run && keys.includes(name));
  if (!found || (isTyping(event) && !name.startsWith("Ctrl+") && event.key !== "Escape")) return;
  if (found.run(event) !== false) event.preventDefault();
});

// "+" alone is a key; elsewhere it joins keys.
const parts = (key) => (key === "+" ? ["+"] : key.split("+")).flatMap((part, at) => [at ? " + " : "", el("kbd", {}, NAMES[part] ?? part)]);

function showMap() {
  const close = el("button", { type: "button", className: "icon-btn", ariaLabel: t("Close") }, icon("x"));
  const groups = [...Map.groupBy(shortcuts, ({ group = "" }) => group)].flatMap(([group, members]) => [
    group && el("h3", {}, group),
    el("dl", { className: "keymap" }, members.flatMap(({ keys, text }) => [el("dt", {}, keys.flatMap((key, at) => [at ? " " : "", ...parts(key)])), el("dd", {}, text)])),
  ]);
  const dialog = el("dialog", { className: "card keys", onclose: () => dialog.remove() }, el("header", {}, el("h2", {}, t("Keyboard")), close), groups.filter(Boolean));
  close.onclick = () => dialog.close();
  dialog.setAttribute("aria-label", t("Keyboard map"));
  document.body.append(dialog);
  dialog.showModal();
}
