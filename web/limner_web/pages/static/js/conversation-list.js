// The list of conversations: the newest ones, or those that a search finds, and older ones on request.
import { getJson } from "./api.js";
import { $, el } from "./dom.js";
import { t } from "./i18n.js";
import { talkMenu } from "./conversation-menu.js";
import { attempt } from "./toast.js";

const PAGE = 50;
const TYPING_MS = 250;
const area = $("#talks");
const older = $("#older-talks");
const search = $("#talk-search");
let cursor = null;
let asked = 0;
let timer = null;
let current = () => null; // the id of the conversation on the page
let onDeleted = () => {};

function item({ id, title }) {
  const link = el("a", { href: `#${id}`, title }, title || "…");
  if (id === current()) link.setAttribute("aria-current", "page");
  return el("li", {}, link, talkMenu({ id, title: title || "…" }, { onDeleted: () => onDeleted(id), onRenamed: listTalks }));
}

async function load(before) {
  const turn = ++asked;
  const query = new URLSearchParams({ limit: PAGE, ...(search.value.trim() && { q: search.value.trim() }), ...(before && { cursor: before }) });
  const page = await getJson(`conversations?${query}`);
  if (turn !== asked) return; // a later search has been answered
  cursor = page.next;
  area.replaceChildren(...(before ? area.children : []), ...page.items.map(item));
  older.hidden = !cursor;
  $("#talks-said").textContent = area.childElementCount ? "" : search.value.trim() ? t("Nothing found") : t("No conversations yet");
}

export const listTalks = () => load(null);

// On a narrow window, the list is a popover.
export const foldTalks = () => { if ($("#talk-list").matches(":popover-open")) $("#talk-list").hidePopover(); };

export function setUpTalks(page) {
  ({ current, onDeleted } = page);
  older.onclick = () => attempt(() => load(cursor));
  search.addEventListener("input", () => { clearTimeout(timer); timer = setTimeout(() => attempt(listTalks), TYPING_MS); });
}
