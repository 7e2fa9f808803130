// The gallery: every picture of the tenant, filtered; several can be chosen and downloaded, compared, tagged or deleted.
import { again, vary } from "./actions.js";
import { call, getJson, pictureUrl, thumbnailUrl } from "./api.js";
import { coverAll, showBoards } from "./boards.js";
import { $, el, icon, perFrame } from "./dom.js";
import { makeDraggable } from "./drag.js";
import { dateTime, number, t, tn } from "./i18n.js";
import { readNewer, watch } from "./jobs.js";
import { addShortcuts } from "./keymap.js";
import { follow } from "./live.js";
import { addTag, askForTag, deleteLater, forEach, organiseMenu, removeTag, setFavourite } from "./organise.js";
import { makeSelection } from "./selection.js";
import { attempt, toast } from "./toast.js";
import { setUpViewer } from "./viewer.js";
import { makeGrid } from "./virtual.js";
import { count, enlargeLabel, fileName } from "./words.js";
import { save, zip } from "./zip.js";

const PAGE = 100;
const MOST_ZIPPED = 1000;
const MOST_BYTES = 2 ** 30; // an archive is made in memory
const GONE = [404, 410];
const filters = $("#filters");
const folded = $(".more-filters"); // on a phone, the button that shows all filters
const root = $("#pictures");
const found = new Map(); // image id -> {job, image}
const hidden = new Set(); // ids of pictures that are being deleted
let list = [];
let cursor = null;
let isComplete = false;
let loading = null;
let generation = 0; // which set of filters the list belongs to
let isStale = true; // while the filters are not those of the list
let typing = null; // a timer, while the filters change

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
  organise: ({ job, image }) => organiseMenu(deletable({ job, image }), { ...hideOf([image]), onChange: () => { grid.redraw(image.id); viewer.update(); boards(); } }),
});

// --- the list ----------------------------------------------------------------------------------------------------------

function query() {
  const values = new URLSearchParams();
  for (const [name, value] of new FormData(filters)) if (value) values.set(name, value);
  return values;
}

// What the API is asked for: all before the end of the day that was chosen, by the reader's clock.
function wantedJobs() {
  const wanted = query();
  const until = wanted.get("until");
  wanted.delete("until");
  if (until) wanted.set("created_before", endOf(until).toISOString());
  wanted.set("status", "succeeded");
  wanted.set("limit", PAGE);
  return wanted;
}

function endOf(day) {
  const end = new Date(`${day}T00:00`);
  end.setDate(end.getDate() + 1);
  return end;
}

const originOf = (job) => (job.bulk && "bulk") || (job.conversation && "conversation") || "single";

// Whether a job that has just finished belongs to the list. Words and marks cannot be compared here, so that what was
// found by them is left as it is.
function isWanted(job) {
  const wanted = query();
  const isOfOrigin = !wanted.has("origin") || wanted.get("origin") === originOf(job);
  return isOfOrigin && !["q", "favourite", "tag"].some((name) => wanted.has(name)) && ["model", "bulk"].every((name) => !wanted.get(name) || wanted.get(name) === job[name])
    && (!wanted.get("until") || new Date(job.created_at) < endOf(wanted.get("until"))) && (!wanted.get("style") || [job.style, ...job.images.map((image) => image.style)].includes(wanted.get("style")));
}

// One bulk is chosen where bulks are.
function offerBulks() {
  const { origin, bulk } = filters.elements;
  const isShown = origin.value === "bulk";
  if (!isShown) bulk.value = "";
  bulk.closest("label").hidden = !isShown;
}

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
  grid.clear();
  selection.clear();
  [cursor, isComplete] = [null, false];
  const text = query().toString();
  scrollTo({ top: 0, behavior: "instant" });
  history.replaceState(null, "", text ? `?${text}` : location.pathname);
  arrange();
  boards();
  await more();
}

const choose = (tag) => { filters.elements.tag.value = tag; restart(); };
const boards = () => showBoards(filters.elements.tag.value, { choose, take: putOnBoard }, query().size > 0).catch(() => {});

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

// A filter finds a job by any of its pictures; only those that match themselves are shown.
function fits({ job, image }) {
  const wanted = query();
  const [isLoved, tag] = [wanted.has("favourite"), wanted.get("tag")];
  return (!isLoved || isMarked({ job, image })) && (!tag || image.tags.includes(tag) || job.tags.includes(tag));
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
    added.push({ job, image });
    if (before && isMarked(before) !== isMarked({ job, image })) grid.redraw(image.id);
  }
  return added;
}

const isMarked = ({ job, image }) => image.favourite || job.favourite;

const inOrder = () => [...found.values()].filter(({ image }) => !hidden.has(image.id)).sort((a, b) => (a.job.id === b.job.id ? a.job.images.indexOf(a.image) - b.job.images.indexOf(b.image) : a.job.id < b.job.id ? 1 : -1));

function arrange() {
  list = inOrder();
  show();
  viewer.refresh();
}

// The cells and what is said of them change in one frame.
const show = perFrame(() => {
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
  const cell = el("div", { className: "cell" }, open, el("label", { className: "pick" }, box), isMarked({ job, image }) && el("span", { className: "loved", title: t("Favourite") }, icon("heart")), el("p", { className: "over", ariaHidden: "true" }, job.prompt));
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
}

// The archive names the pictures that were deleted meanwhile.
async function download() {
  const pictures = chosen();
  toast(tn("Packing %(n)s picture …", "Packing %(n)s pictures …", pictures.length), { seconds: 3 });
  const [files, missing] = [[], []];
  let [packed, room] = [0, MOST_BYTES];
  for (const { job, image } of pictures.slice(0, MOST_ZIPPED)) {
    const name = `${String(packed + 1).padStart(4, "0")} ${fileName(job, image)}`;
    const bytes = await bytesOf(image);
    if (bytes && bytes.length > room) break;
    if (bytes) files.push({ name, bytes });
    else missing.push(name);
    packed += 1;
    room -= bytes?.length ?? 0;
  }
  if (missing.length) files.push({ name: "missing.txt", bytes: new TextEncoder().encode(`${missing.join("\n")}\n`) });
  save(zip(files), "limner-pictures.zip");
  if (missing.length) toast(tn("%(n)s picture is missing: it no longer exists.", "%(n)s pictures are missing: they no longer exist.", missing.length), { bad: true });
  if (packed < pictures.length) toast(t("The first %(n)s pictures are in the archive.", { n: number(packed) }));
}

async function bytesOf(image) {
  try {
    return new Uint8Array(await (await call(pictureUrl(image, "png"))).arrayBuffer());
  } catch (error) {
    if (!GONE.includes(error.status)) throw error;
    return null;
  }
}

// Puts pictures on the board of a tag, which can be taken back; without a tag, it is asked for.
async function putOn(images, wanted) {
  const tag = wanted ?? await askForTag();
  const added = images.filter(({ tags }) => !tags.includes(tag));
  if (!tag) return;
  await forEach(added, (image) => addTag(image, tag));
  const undo = () => attempt(async () => { await forEach(added, (image) => removeTag(image, tag)); boards(); });
  toast(tn("%(n)s picture on the board “%(tag)s”", "%(n)s pictures on the board “%(tag)s”", images.length, { tag }), added.length ? { action: t("Undo"), onAction: undo } : {});
  boards();
}

const putOnBoard = (ids, tag) => attempt(() => putOn(ids.map((id) => found.get(id)?.image ?? { id, tags: [] }), tag));

// What is selected, otherwise the picture that has the focus.
function targets() {
  const at = document.activeElement?.closest("#pictures .cell")?.dataset.index;
  return selection.size || at === undefined ? chosen() : [list[at]];
}

const tagAll = async () => { const pictures = targets(); if (pictures.length) await putOn(pictures.map(({ image }) => image), null); };

async function loveAll() {
  const pictures = targets();
  const on = pictures.some(({ image }) => !image.favourite);
  await forEach(pictures, ({ image }) => setFavourite(image, on));
  for (const { image } of pictures) grid.redraw(image.id);
}

// A job goes with its last picture.
const deletable = ({ job, image }) => (job.images.length === 1 ? job : image);

const hideOf = (images) => {
  const set = (ids, on) => { for (const id of ids) { if (on) hidden.add(id); else hidden.delete(id); } arrange(); viewer.update(); };
  const idsOf = (target) => (target.images ?? [target]).map(({ id }) => id);
  return { hide: () => set(images.map(({ id }) => id), true), show: (targets) => set(targets.flatMap(idsOf), false) };
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

const commands = { zip: download, tag: tagAll, love: loveAll, delete: deleteAll, compare: compareBoth, all: () => selection.all(list.map(({ image }) => ({ id: image.id }))), none: () => selection.clear() };
$("#chosen").addEventListener("click", ({ target }) => {
  const button = target.closest("[data-all]");
  if (button) attempt(async () => commands[button.dataset.all]());
});

// --- start ---------------------------------------------------------------------------------------------------------------

for (const [name, value] of new URLSearchParams(location.search)) {
  const input = filters.elements[name];
  if (!input) continue;
  if (input.tagName === "SELECT" && ![...input.options].some((option) => option.value === value)) input.append(new Option(value, value));
  if (input.type === "checkbox") input.checked = true;
  else input.value = value;
}
if (filters.elements.bulk.value) filters.elements.origin.value = "bulk";
filters.addEventListener("input", ({ target }) => { outdate(); clearTimeout(typing); typing = setTimeout(restart, target.type === "search" ? 300 : 0); });
filters.addEventListener("submit", (event) => { event.preventDefault(); restart(); });
$("[data-reload]").onclick = restart;
folded.onclick = () => folded.setAttribute("aria-expanded", folded.ariaExpanded !== "true");
addShortcuts(
  { keys: ["Ctrl+a"], text: t("Select all that are loaded"), run: () => commands.all() },
  { keys: ["t"], text: t("Put on a board"), run: () => attempt(tagAll) },
  { keys: ["f"], text: t("Favourite"), run: () => attempt(loveAll) },
  { keys: ["Delete"], text: t("Delete"), run: deleteAll },
  { keys: ["Escape"], text: t("Clear the selection"), run: () => selection.clear() },
  { keys: ["Shift+click"], text: t("Select a range") },
  { keys: ["ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown"], text: t("Move between pictures") },
);
watch((job, before) => {
  if (!job) for (const [id, picture] of found) { if (picture.job.id === before.id) found.delete(id); }
  else if (job.status !== "succeeded") return;
  else {
    removeOld(job);
    if (isWanted(job)) add(job);
  }
  arrange();
});
getJson("bulks").then(({ items }) => {
  const select = filters.elements.bulk;
  for (const bulk of items) if (![...select.options].some((option) => option.value === bulk.id)) select.append(new Option(`${dateTime(bulk.created_at)} · ${count(bulk.total, "job")}`, bulk.id));
}, () => {});
await restart();
follow({ onConnect: () => { ($("#failed").hidden ? catchUp() : restart()).catch(() => {}); }, onBulk: (id) => { addOfBulk(id).catch(() => {}); } });
