// One menu for the page: opened at a button, used with mouse, touch or the keyboard.
import { $$, el, icon } from "./dom.js";

const GROUPS = ["make", "take", "keep", "end"]; // their order; what belongs to none comes first
const menu = el("div", { className: "menu", popover: "auto", id: "menu" });
menu.setAttribute("role", "menu");
let anchor = null;

// `items` are {icon, text, onClick} or {icon, text, href, download}; `danger` marks what destroys something. Lines stand
// between the groups of `group`. Items of one `row`, which is {icon, text}, share a line, where each is called `short`.
export function openMenu(at, items) {
  anchor = at;
  const given = items.filter(Boolean);
  const groups = [undefined, ...GROUPS].map((name) => given.filter(({ group }) => group === name)).filter(({ length }) => length);
  menu.replaceChildren(...groups.flatMap((group, index) => [index > 0 && el("hr"), ...linesOf(group)]).filter(Boolean));
  at.closest("dialog, [popover], main").append(menu); // within a popover, so that it stays open
  menu.showPopover();
  at.setAttribute("aria-expanded", "true");
  place(at.getBoundingClientRect(), menu.getBoundingClientRect());
  entries()[0]?.focus();
}

const entries = () => $$("[role=menuitem]", menu);

function linesOf(items) {
  const rows = Map.groupBy(items, (item) => item.row?.text ?? item);
  return [...rows.values()].map((each) => (each[0].row ? rowOf(each) : entry(each[0])));
}

function rowOf(items) {
  const { icon: name, text } = items[0].row;
  return el("div", { className: "menu-row", role: "group", ariaLabel: text }, icon(name), el("span", { ariaHidden: "true" }, text), items.map(entry));
}

function entry({ icon: name, text, short, href, download, onClick, danger }) {
  const element = href ? el("a", { href, ...(download && { download }) }) : el("button", { type: "button" });
  element.setAttribute("role", "menuitem");
  element.classList.toggle("danger", Boolean(danger));
  if (short) element.ariaLabel = text;
  element.append(...(short ? [short] : [icon(name), text]));
  element.addEventListener("click", () => { menu.hidePopover(); onClick?.(); });
  return element;
}

function place(button, { width, height }) {
  const below = button.bottom + height + 8 < innerHeight;
  menu.style.top = `${below ? button.bottom + 4 : Math.max(8, Math.min(button.top - height - 4, innerHeight - height - 8))}px`;
  menu.style.left = `${Math.min(Math.max(8, button.right - width), innerWidth - width - 8)}px`;
}

// Up and down go from line to line, left and right from entry to entry.
function next(key) {
  const all = entries();
  const at = all.indexOf(document.activeElement);
  if (key === "Home" || key === "End") return all.at(key === "Home" ? 0 : -1);
  if (key === "ArrowLeft" || key === "ArrowRight") return all.at((at + (key === "ArrowRight" ? 1 : -1)) % all.length);
  const lines = [...menu.children].filter((each) => each.tagName !== "HR");
  const line = lines.findIndex((each) => each.contains(document.activeElement));
  const wanted = lines.at((line + (key === "ArrowDown" ? 1 : -1)) % lines.length);
  return all.find((each) => wanted.contains(each));
}

menu.addEventListener("toggle", ({ newState }) => {
  if (newState === "open" || !anchor) return;
  anchor.setAttribute("aria-expanded", "false");
  if (document.activeElement === document.body || menu.contains(document.activeElement)) anchor.focus();
});
menu.addEventListener("keydown", (event) => {
  if (!["ArrowDown", "ArrowUp", "ArrowLeft", "ArrowRight", "Home", "End"].includes(event.key)) return;
  event.preventDefault();
  next(event.key)?.focus();
});
