// Modal dialogs: they remove themselves from the page when they are closed.
import { button, el } from "./dom.js";
import { t } from "./i18n.js";

export function openDialog(title, ...children) {
  const dialog = el("dialog", { className: "card", ariaLabel: title }, el("h2", {}, title), ...children);
  dialog.addEventListener("close", () => dialog.remove());
  document.body.append(dialog);
  dialog.showModal();
  return dialog;
}

// Shows something that has only to be closed.
export function tell(title, ...children) {
  const close = button(t("Close"), () => dialog.close());
  const dialog = openDialog(title, el("div", { className: "stack" }, ...children, el("div", { className: "buttons" }, close)));
  return dialog;
}

// Asks a question, with `fields` to fill in; resolves to a FormData, or to null if the user does not agree.
export function ask(title, { text = null, fields = [], yes, no = t("Cancel") }) {
  const buttons = el("div", { className: "buttons" }, el("button", { className: "btn primary", value: "yes" }, yes), el("button", { className: "btn", value: "", formNoValidate: true }, no));
  const form = el("form", { method: "dialog", className: "stack" }, text && el("p", { className: "quiet" }, text), fields, buttons);
  const dialog = openDialog(title, form);
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes" ? new FormData(form) : null));
  });
}

export const field = (label, input) => el("label", { className: "field" }, el("span", {}, label), input);

export function choice(name, options, chosen) {
  const select = el("select", { name }, options.map(([value, text]) => new Option(text, value)));
  if (chosen !== undefined) select.value = chosen;
  return select;
}
