// One menu for the page: opened at a button, used with mouse, touch or arrow keys.
import { el, icon } from "./dom.js";

const menu = el("div", { className: "menu", popover: "auto", id: "menu" });
menu.setAttribute("role", "menu");
let anchor = null;

// `items` are {icon, text, onClick} or {icon, text, href, download}; `danger` marks what destroys something.
export function openMenu(at, items) {
  anchor = at;
  menu.replaceChildren(...items.filter(Boolean).map(entry));
  at.closest("dialog, [popover], main").append(menu); // within a popover, so that it stays open
  menu.showPopover();
  at.setAttribute("aria-expanded", "true");
  place(at.getBoundingClientRect(), menu.getBoundingClientRect());
  menu.firstElementChild?.focus();
}

function entry({ icon: name, text, href, download, onClick, danger }) {
  const element = href ? el("a", { href, ...(download && { download }) }) : el("button", { type: "button" });
  element.setAttribute("role", "menuitem");
  element.classList.toggle("danger", Boolean(danger));
  element.append(icon(name), text);
  element.addEventListener("click", () => { menu.hidePopover(); onClick?.(); });
  return element;
}

function place(button, { width, height }) {
  const below = button.bottom + height + 8 < innerHeight;
  menu.style.top = `${below ? button.bottom + 4 : Math.max(8, button.top - height - 4)}px`;
  menu.style.left = `${Math.min(Math.max(8, button.right - width), innerWidth - width - 8)}px`;
}

menu.addEventListener("toggle", ({ newState }) => {
  if (newState === "open" || !anchor) return;
  anchor.setAttribute("aria-expanded", "false");
  if (document.activeElement === document.body || menu.contains(document.activeElement)) anchor.focus();
});
menu.addEventListener("keydown", (event) => {
  const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  if (!step) return;
  event.preventDefault();
  const items = [...menu.children];
  items.at((items.indexOf(document.activeElement) + step) % items.length).focus();
});
