// The gallery: every picture of the tenant, filtered; several can be chosen and downloaded, compared, tagged or deleted.
import { again, vary } from "./actions.js";
import { getJson, thumbnailUrl } from "./api.js";
import { coverAll, showBoards } from "./boards.js";
import { $, el, icon, perFrame } from "./dom.js";
import { makeDraggable } from "./drag.js";
import { download } from "./gallery-archive.js";
import { fillFilters, filters, fits, isWanted, listBulks, offerBulks, query, wantedJobs } from "./gallery-filters.js";
import { number, t, tn } from "./i18n.js";
import { readNewer, watch } from "./jobs.js";
import { addShortcuts, isTyping } from "./keymap.js";
import { follow } from "./live.js";
import { putOn, takeOff, toggleLove } from "./marking.js";
import { deleteLater, isLoved, organiseMenu } from "./organise.js";
import { makeSelection } from "./selection.js";
import { attempt } from "./toast.js";
import { setUpViewer } from "./viewer.js";
import { makeGrid } from "./virtual.js";
import { count, enlargeLabel } from "./words.js";

const folded = $(".more-filters"); // on a phone, the button that shows all filters
const BOARDS_MS = 500; // after the last of several pictures has gone
const root = $("#pictures");
const found = new Map(); // image id -> {job, image}
const once = new Set(); // ids of pictures that these filters have found, also if their marks no longer fit
const hidden = new Set(); // ids of pictures that are being deleted
const outdated = new Set(); // ids of pictures whose cells show what is no longer so
let list = [];
let cursor = null;
let isComplete = false;
let loading = null;
let generation = 0; // which set of filters the list belongs to
let isStale = true; // while the filters are not those of the list
let typing = null; // a timer, while the filters change
let above = null; // ends once the boards are there for the first time: no picture moves under a pointer

const selection = makeSelection(({ id }, on) => { const cell = grid.cells.get(id); if (cell) mark(cell, on); showSelection(); });
const grid = makeGrid(root, { render, keyOf: ({ image }) => image.id, least: () => (innerWidth < 640 ? 110 : 190), onNearEnd: () => more() });

const viewer = setUpViewer({
  pictures: () => list,
  more,
  actions: [
    { icon: "again", text: t("Again, with another seed"), run: ({ job }) => again(job) },
    { icon: "vary", text: t("Variations"), run: ({ job, image }) => vary(job, image) },
    { icon: "remix", text: t("Remix in the studio"), run: ({ job }) => location.assign(`/?remix=${job.id}`) },
    ...("canStart" in $("#main").dataset ? [{ icon: "image", text: t("Start from this picture in the studio"), run: ({ image }) => location.assign(`/?start=${image.id}`) }] : []),
  ],
  organise: ({ job, image }) => organiseMenu(job, image, { ...hideOf([image]), onChange: () => { grid.redraw(image.id); viewer.update(); boards(); } }),
  onMark: (picture) => { grid.redraw(picture.image.id); refit([picture])(); },
});

// --- the list ----------------------------------------------------------------------------------------------------------

// From the first key on, nothing is said of the list that the filters no longer mean.
function outdate() {
  generation += 1;
  loading = null;
  isStale = true;
  $("#number").textContent = "";
}

async function restart() {
  clearTimeout(typing);
  typing = null;
  offerBulks();
  outdate();
  found.clear();
  once.clear();
  grid.clear();
  selection.clear();
  [cursor, isComplete] = [null, false];
  const text = query().toString();
  scrollTo({ top: 0, behavior: "instant" });
  history.replaceState(null, "", text ? `?${text}` : location.pathname);
  arrange();
  const shown = boards();
  above ??= shown;
  await more();
}

const choose = (tag) => { filters.elements.tag.value = tag; restart(); };
let boardsTimer = null;
const boardsSoon = () => { clearTimeout(boardsTimer); boardsTimer = setTimeout(boards, BOARDS_MS); };
const leaving = () => [...hidden].flatMap((id) => found.get(id) ?? []);
const boards = () => showBoards(filters.elements.tag.value, { choose, take: putOnBoard }, query().size > 0, leaving).catch(() => {});

function more() {
  if (isComplete || typing) return Promise.resolve();
  const own = generation;
  root.setAttribute("aria-busy", "true");
  loading ??= load(own).finally(() => {
    if (own !== generation) return;
    loading = null;
    root.setAttribute("aria-busy", "false");
  });
  return loading;
}

async function load(own) {
  const wanted = wantedJobs();
  if (cursor) wanted.set("cursor", cursor);
  try {
    const page = await getJson(`jobs?${wanted}`);
    await above;
    if (own !== generation) return;
    const added = page.items.flatMap(add);
    // Older ones follow in order: sorting all again for each page would take longer the more there are.
    if (list.length && added.every(({ job }) => job.id < list.at(-1).job.id)) list.push(...added.filter(({ image }) => !hidden.has(image.id)));
    else list = inOrder();
    cursor = page.next;
    isComplete = !cursor;
    showFailure(null);
  } catch (error) {
    if (error.status === undefined) throw error;
    if (own !== generation) return;
    isComplete = true; // until the user tries again
    showFailure(error.message);
  }
  isStale = false;
  show();
}

// What changed before the events began: newer pictures, and deleted ones among the newest.
async function catchUp() {
  const own = generation;
  const before = [...found];
  const { items, oldest } = await readNewer(wantedJobs(), list[0]?.job.id);
  if (own !== generation) return;
  const known = new Set(items.map(({ id }) => id));
  for (const [id, { job }] of before) if (job.id >= oldest && !known.has(job.id)) found.delete(id);
  items.forEach(removeOld);
  items.forEach(add);
  arrange();
}

// What a bulk has drawn since it was last asked for: its newest jobs, as far back as there are new ones.
async function addOfBulk(id) {
  if (query().get("origin") && query().get("origin") !== "bulk") return;
  const [own, wanted] = [generation, wantedJobs()];
  if (wanted.has("bulk") && wanted.get("bulk") !== id) return;
  wanted.delete("origin");
  wanted.set("bulk", id);
  let isNew = true;
  while (isNew) {
    const page = await getJson(`jobs?${wanted}`);
    if (own !== generation) return;
    isNew = page.items.flatMap(add).length > 0 && page.next !== null;
    wanted.set("cursor", page.next);
    arrange();
  }
}

// Removes what the job no longer has, or what no longer fits the filter.
function removeOld(job) {
  const images = new Map(job.images.map((image) => [image.id, image]));
  for (const [id, before] of found) {
    const image = images.get(id);
    if (before.job.id === job.id && before.job.version < job.version && !(image && fits({ job, image }))) found.delete(id);
  }
}

// Returns what is new or changed.
function add(job) {
  const added = [];
  for (const image of job.images) {
    const before = found.get(image.id);
    if (!fits({ job, image }) || before?.job.version >= job.version) continue; // an answer that was under way must not undo a mark
    found.set(image.id, { job, image });
    once.add(image.id);
    added.push({ job, image });
    if (before && isLoved(before.job, before.image) !== isLoved(job, image)) outdated.add(image.id);
  }
  return added;
}

const inOrder = () => [...found.values()].filter(({ image }) => !hidden.has(image.id)).sort((a, b) => (a.job.id === b.job.id ? a.job.images.indexOf(a.image) - b.job.images.indexOf(b.image) : a.job.id < b.job.id ? 1 : -1));

function arrange() {
  list = inOrder();
  show();
  viewer.refresh();
}

// The cells and what is said of them change in one frame.
const show = perFrame(() => {
  for (const id of outdated) grid.redraw(id);
  outdated.clear();
  grid.show(list);
  root.dataset.loaded = list.length;
  const isEmpty = isComplete && !list.length && $("#failed").hidden;
  $("#none").hidden = !isEmpty;
  const isFiltered = query().size > 0;
  const chosenBeside = [...query().keys()].filter((name) => name !== "q").length;
  $("b", folded).textContent = chosenBeside ? number(chosenBeside) : "";
  if (!isFiltered && !isStale) coverAll(list.map(({ image }) => image));
  $("#none [data-draw]").hidden = isFiltered;
  $("#none [data-clear]").hidden = !isFiltered;
  $("#none h2").textContent = isFiltered ? t("No picture matches") : t("No pictures yet");
  $("#none p").textContent = isFiltered ? t("Change the filters to see more.") : t("What you draw in the studio, in bulks or through the API appears here.");
  $("#number").textContent = isStale || !list.length ? "" : isComplete ? count(list.length, "picture") : tn("%(n)s picture, more as you scroll", "%(n)s pictures, more as you scroll", list.length);
});

function showFailure(reason) {
  $("#failed").hidden = !reason;
  $("#failed [data-reason]").textContent = reason || "";
}

// --- the cells ---------------------------------------------------------------------------------------------------------

function render({ job, image }) {
  const box = el("input", { type: "checkbox", checked: selection.has(image.id), ariaLabel: t("Select %(prompt)s, seed %(seed)s", { prompt: job.prompt, seed: image.seed }) });
  box.addEventListener("click", (event) => selection.toggle({ id: image.id }, box.checked, event.shiftKey ? list.map((each) => ({ id: each.image.id })) : null));
  const open = el("button", { type: "button", ariaLabel: enlargeLabel(job, image), onclick: () => viewer.show(image.id) }, el("img", { data: { src: thumbnailUrl(image, 384) }, alt: image.alt_text || job.prompt, decoding: "async" }));
  const cell = el("div", { className: "cell" }, open, el("label", { className: "pick" }, box), isLoved(job, image) && el("span", { className: "loved", title: t("Favourite") }, icon("heart")), el("p", { className: "over", ariaHidden: "true" }, job.prompt));
  mark(cell, selection.has(image.id));
  makeDraggable(cell, () => (selection.has(image.id) ? chosen().map((each) => each.image) : [image]));
  return cell;
}

function mark(cell, on) {
  cell.classList.toggle("chosen", on);
  $("input", cell).checked = on;
}

// --- several at once -----------------------------------------------------------------------------------------------------

const chosen = () => list.filter(({ image }) => selection.has(image.id));

function showSelection() {
  const selected = selection.size;
  $("#chosen").hidden = !selected;
  root.classList.toggle("choosing", selected > 0);
  $("#chosen b").textContent = tn("%(n)s selected", "%(n)s selected", selected);
  $("[data-all=compare]").disabled = selected !== 2;
  $("[data-all=untag]").hidden = !query().has("tag");
}

// After a change of marks: what no longer fits the filter goes, and comes back if the change is taken back.
function refit(pictures) {
  const own = generation;
  return () => {
    for (const picture of own === generation ? pictures : []) {
      if (!fits(picture)) found.delete(picture.image.id);
      else if (!found.has(picture.image.id)) found.set(picture.image.id, picture);
    }
    arrange();
    boards();
  };
}

const unknown = (id) => ({ job: { id: null, tags: [], images: [] }, image: { id, tags: [] } }); // of another window
const putOnBoard = (ids, tag) => attempt(() => putOn(ids.map((id) => found.get(id) ?? unknown(id)), tag, boards));

// What is selected, otherwise the picture that has the focus.
function targets() {
  const at = document.activeElement?.closest("#pictures .cell")?.dataset.index;
  return selection.size || at === undefined ? chosen() : [list[at]];
}

const tagAll = async () => { const pictures = targets(); if (pictures.length) await putOn(pictures, null, boards); };

function takeAllOff() {
  const pictures = chosen();
  selection.clear();
  return takeOff(pictures, query().get("tag"), refit(pictures));
}

async function loveAll() {
  const pictures = targets();
  await toggleLove(pictures);
  for (const { image } of pictures) grid.redraw(image.id);
}

// A job goes with its last picture.
const deletable = ({ job, image }) => (job.images.length === 1 ? job : image);

const hideOf = (images) => {
  const set = (ids, on) => { for (const id of ids) { if (on) hidden.add(id); else hidden.delete(id); } arrange(); viewer.update(); boards(); };
  const idsOf = (target) => (target.images ?? [target]).map(({ id }) => id);
  const forget = (targets) => { for (const id of targets.flatMap(idsOf)) found.delete(id); boards(); };
  return { hide: () => set(images.map(({ id }) => id), true), show: (targets) => set(targets.flatMap(idsOf), false), onGone: forget };
};

function deleteAll() {
  const pictures = targets();
  selection.clear();
  if (!pictures.length) return;
  deleteLater(pictures.map(deletable), hideOf(pictures.map(({ image }) => image)));
}

function compareBoth() {
  const [first, second] = chosen();
  viewer.compare(first.image.id, second);
}

const commands = { zip: () => download(chosen()), tag: tagAll, untag: takeAllOff, love: loveAll, delete: deleteAll, compare: compareBoth, all: () => selection.all(list.map(({ image }) => ({ id: image.id }))), none: () => selection.clear() };
$("#chosen").addEventListener("click", ({ target }) => {
  const button = target.closest("[data-all]");
  if (button) attempt(async () => commands[button.dataset.all]());
});

// --- start ---------------------------------------------------------------------------------------------------------------

fillFilters();
filters.addEventListener("input", ({ target }) => { outdate(); clearTimeout(typing); typing = setTimeout(restart, target.type === "search" ? 300 : 0); });
filters.addEventListener("submit", (event) => { event.preventDefault(); restart(); });
$("[data-reload]").onclick = restart;
folded.onclick = () => folded.setAttribute("aria-expanded", folded.ariaExpanded !== "true");
addShortcuts(
  { keys: ["Ctrl+a"], text: t("Select all that are loaded"), run: (event) => !isTyping(event) && commands.all() },
  { keys: ["t"], text: t("Put on a board"), run: () => attempt(tagAll) },
  { keys: ["f"], text: t("Favourite"), run: () => attempt(loveAll) },
  { keys: ["Delete"], text: t("Delete"), run: deleteAll },
  { keys: ["Escape"], text: t("Clear the selection"), run: () => selection.clear() },
  { keys: ["Shift+click"], text: t("Select a range") },
  { keys: ["ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown"], text: t("Move between pictures") },
);
watch((job, before) => {
  const known = found.size;
  if (!job) for (const [id, picture] of found) { if (picture.job.id === before.id) found.delete(id); }
  else if (job.status !== "succeeded") return;
  else {
    removeOld(job);
    if (isWanted(job) || job.images.some(({ id }) => once.has(id))) add(job);
  }
  if (found.size < known) boardsSoon(); // deleted in another window, or no longer on the board
  arrange();
});
listBulks().catch(() => {});
await restart();
follow({ onConnect: () => { ($("#failed").hidden ? catchUp() : restart()).catch(() => {}); }, onBulk: (id) => { addOfBulk(id).catch(() => {}); } });
