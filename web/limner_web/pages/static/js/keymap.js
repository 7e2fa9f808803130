// Keyboard shortcuts of the page, and the map of them that `?` shows.
import { el, icon } from "./dom.js";

const shortcuts = [{ keys: ["?"], text: "Show this map", run: showMap }];

// Adds {keys, text, run}; a key such as "Ctrl+Enter" also works while typing. Without `run` it is only listed.
export const addShortcuts = (...more) => { shortcuts.push(...more); };

const isTyping = ({ target }) => target.isContentEditable || ["TEXTAREA", "SELECT"].includes(target.tagName) || (target.tagName === "INPUT" && !["checkbox", "radio", "range"].includes(target.type));

document.addEventListener("keydown", (event) => {
  if (event.defaultPrevented || document.querySelector("dialog[open]")) return;
  const name = (event.ctrlKey || event.metaKey ? "Ctrl+" : "") + event.key;
  const found = shortcuts.find(({ keys, run }) => run && keys.includes(name));
  if (!found || (isTyping(event) && !name.startsWith("Ctrl+") && event.key !== "Escape")) return;
  if (found.run(event) !== false) event.preventDefault();
});

function showMap() {
  const close = el("button", { type: "button", className: "icon-btn", ariaLabel: "Close" }, icon("x"));
  const rows = shortcuts.flatMap(({ keys, text }) => [el("dt", {}, keys.flatMap((key, at) => [at ? " " : "", ...key.split("+").flatMap((part, i) => [i ? " + " : "", el("kbd", {}, part)])])), el("dd", {}, text)]);
  const dialog = el("dialog", { className: "card", onclose: () => dialog.remove() }, el("header", {}, el("h2", {}, "Keyboard"), close), el("dl", { className: "keymap" }, rows));
  close.onclick = () => dialog.close();
  dialog.setAttribute("aria-label", "Keyboard map");
  document.body.append(dialog);
  dialog.showModal();
}
