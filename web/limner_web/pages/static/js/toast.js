// Short messages at the upper edge, each with at most one action.
import { el } from "./dom.js";

const area = el("div", { className: "toasts", popover: "manual" });
area.setAttribute("role", "status");
const ACTION_SECONDS = 10;

// It stays while the pointer or the focus is on it. `onAction` is called for its action, `onEnd` where it goes without.
export function toast(text, { action = null, onAction = () => {}, onEnd = () => {}, bad = false, seconds = action ? ACTION_SECONDS : 5 } = {}) {
  const message = el("div", { className: `toast${bad ? " bad" : ""}` }, el("span", {}, text));
  const holders = new Set(); // "pointer", "focus"
  let timer = null;
  const close = () => { clearTimeout(timer); message.remove(); if (!area.childElementCount && area.matches(":popover-open")) area.hidePopover(); };
  const wait = () => { clearTimeout(timer); timer = setTimeout(() => { close(); onEnd(); }, seconds * 1000); };
  const hold = (holder) => { holders.add(holder); clearTimeout(timer); };
  const release = (holder) => { if (holders.delete(holder) && !holders.size && message.isConnected) wait(); };
  message.addEventListener("pointerenter", () => hold("pointer"));
  message.addEventListener("pointerleave", () => release("pointer"));
  message.addEventListener("focusin", () => hold("focus"));
  message.addEventListener("focusout", () => release("focus"));
  if (action) message.append(el("button", { type: "button", onclick: () => { holders.add("used"); close(); onAction(); } }, action));
  wait();
  area.append(message);
  settle();
}

// A modal dialog hides what is outside it, and a closed one what is inside.
function settle() {
  const place = [...document.querySelectorAll("dialog[open]")].at(-1) ?? document.body;
  if (area.parentElement !== place) place.append(area);
  if (area.childElementCount && !area.matches(":popover-open")) area.showPopover();
}

document.addEventListener("close", settle, true);

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
