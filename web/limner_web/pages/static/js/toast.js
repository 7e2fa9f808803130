// Short messages at the lower edge, each with at most one action.
import { el } from "./dom.js";

const area = el("div", { className: "toasts", popover: "manual" });
area.setAttribute("role", "status");

export function toast(text, { action = null, onAction = () => {}, bad = false, seconds = 5 } = {}) {
  const message = el("div", { className: `toast${bad ? " bad" : ""}` }, el("span", {}, text));
  const end = () => { message.remove(); if (!area.childElementCount && area.matches(":popover-open")) area.hidePopover(); };
  const timer = setTimeout(end, seconds * 1000);
  if (action) message.append(el("button", { type: "button", onclick: () => { clearTimeout(timer); end(); onAction(); } }, action));
  const place = document.querySelector("dialog[open]") || document.body; // a modal dialog hides what is outside it
  if (area.parentElement !== place) place.append(area);
  area.append(message);
  if (!area.matches(":popover-open")) area.showPopover();
}

// Runs an action, and shows its error if it fails.
export async function attempt(action) {
  try {
    return await action();
  } catch (error) {
    if (error.status === undefined) throw error;
    toast(error.message, { bad: true, seconds: 8 });
    return undefined;
  }
}
