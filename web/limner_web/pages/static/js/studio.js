// The studio: draws what the form says and shows the newest jobs, which it follows until they end.
import { again, isUnread, submit, vary } from "./actions.js";
import { getJson, isSlowed } from "./api.js";
import { controlFields, followAs, setUpControl } from "./control.js";
import { mode, setMode, setUpDescribe, understand } from "./describe.js";
import { dock } from "./dock.js";
import { $, perFrame, scrolling } from "./dom.js";
import { setUpDropSettings } from "./drop-settings.js";
import { rememberPrompt } from "./earlier-prompts.js";
import { failure } from "./errors.js";
import { setUpEstimate } from "./estimate.js";
import { clearError, fillDescription, fillForm, form, keepDraft, readForm, setUpForm, showError } from "./form.js";
import { t } from "./i18n.js";
import { drop, jobs, open, put, readNewer, refresh, watch } from "./jobs.js";
import { addShortcuts } from "./keymap.js";
import { follow } from "./live.js";
import { organiseMenu } from "./organise.js";
import { setUpPresets } from "./presets.js";
import { anyTakesReferences, referAs, referenceFields, referTo, setUpReferences } from "./references.js";
import { setUpShapes } from "./shapes.js";
import { anyCanStart, setUpStart, startAs, startFields, startFrom } from "./start-picture.js";
import { setUpStylePictures } from "./style-pictures.js";
import { suggestPrompt } from "./suggest-prompt.js";
import { setUpSuggestions } from "./suggest.js";
import { looksOf, makeTile, paint } from "./tile.js";
import { toast } from "./toast.js";
import { setUpViewer } from "./viewer.js";

const PAGE = 48;
const NEWEST = 24;
const MOST_EMPTY = 10; // pages that are read at once where each has only lines of bulks
const PREVIEW_MS = 1000;
const NOTICED_MS = 400;
const gallery = $("#gallery");
const tiles = new Map(); // job id -> tile
const changed = new Set(); // ids of jobs to paint
const hidden = new Set(); // ids of jobs and pictures that are being deleted
let cursor = null;
let isLoading = true;
let loading = null; // what loads older jobs

// --- the form --------------------------------------------------------------------------------------------------------

const button = $(".draw", form);
const bulksToo = $("#bulks-too");
const showsBulks = () => bulksToo.getAttribute("aria-pressed") === "true";
const showBulks = (on) => bulksToo.setAttribute("aria-pressed", on);

// Says on the button what goes on, where it takes long enough to wonder.
async function whileSaying(words, work) {
  const { textContent: before } = button;
  const timer = setTimeout(() => { button.textContent = words; button.classList.add("busy"); }, NOTICED_MS);
  try {
    return await work;
  } finally {
    clearTimeout(timer);
    if (button.textContent === words) button.textContent = before;
    button.classList.remove("busy");
  }
}

async function draw() {
  if (button.ariaDisabled === "true") return; // a second press of Enter is not a second picture
  button.ariaDisabled = "true";
  try {
    if (mode() === "describe") {
      await understand();
      clearError();
      return;
    }
    const request = { ...readForm(), ...startFields(), ...controlFields(), ...await referenceFields() };
    await whileSaying(t("Sending …"), submit(request));
    rememberPrompt(request.prompt);
    clearError();
    scrollTo({ top: 0, behavior: scrolling() });
  } catch (error) {
    if (error.status === undefined) throw error;
    showError(error);
  } finally {
    button.ariaDisabled = "false";
  }
}

function remix(job) {
  setMode(isUnread(job) ? "describe" : "prompt");
  fillForm(job);
  if (isUnread(job)) fillDescription(job.description);
  startAs(job);
  followAs(job);
  referAs(job);
  toast(t("Settings loaded"));
}

// --- the tiles -------------------------------------------------------------------------------------------------------

const shownOf = (job) => (job.images.some(({ id }) => hidden.has(id)) ? { ...job, images: job.images.filter(({ id }) => !hidden.has(id)) } : job);
const pictures = () => [...jobs.values()].filter(({ id }) => tiles.has(id) && !hidden.has(id)).sort((a, b) => (a.id < b.id ? 1 : -1)).map(shownOf).flatMap((job) => job.images.map((image) => ({ job, image })));
const viewer = setUpViewer({ pictures, actions: [
  { icon: "again", text: t("Again, with another seed"), run: ({ job }) => again(job) },
  { icon: "vary", text: t("Vary: four pictures near this one"), run: ({ job, image }) => vary(job, image) },
  { icon: "remix", text: t("Remix: load these settings"), run: ({ job }) => { viewer.close(); remix(job); } },
], more: older, organise: ({ job, image }) => [startItem(image), referItem(image), suggestItem(image), ...organiseMenu(jobs.get(job.id), image, hideOf(job.id))] });

const startItem = (image) => anyCanStart() && image && { group: "make", icon: "image", text: t("Start from this picture"), onClick: () => { viewer.close(); startFrom(image); } };

const referItem = (image) => anyTakesReferences() && image && { group: "make", icon: "plus", text: t("Take as a reference"), onClick: () => { viewer.close(); referTo([image.id]); } };

const suggestItem = (image) => image && { group: "make", icon: "text", text: t("Suggest a prompt"), onClick: () => { viewer.close(); suggestPrompt(image.id); } };

const enlarge = (job, index) => viewer.show(job.images[index].id);

const repaint = perFrame(() => {
  for (const id of changed) {
    const job = jobs.get(id);
    if (!tiles.has(id)) place(job);
    const tile = tiles.get(id);
    paint(tile, shownOf(job));
    tile.element.hidden = hidden.has(id);
  }
  changed.clear();
  showState();
});

// Places a tile by the age of its job: ids grow with time.
function place(job) {
  const tile = makeTile({ onRemix: remix, onEnlarge: enlarge, organise });
  tiles.set(job.id, tile);
  const next = [...gallery.children].find((each) => each.id < job.id);
  gallery.insertBefore(tile.element, next || null);
}

watch((job, before) => {
  if (!job) { remove(before.id); return; }
  changed.add(job.id);
  repaint();
  if (!before) { if (!isLoading) announce(t("Queued: %(prompt)s", job)); return; }
  if (before.status === job.status) return;
  if (job.status === "succeeded") announce(t("Done: %(prompt)s", job));
  if (job.status === "failed") announce(`${job.prompt}: ${failure(job)}`);
});

function remove(id) {
  tiles.get(id)?.element.remove();
  tiles.delete(id);
  changed.delete(id);
  viewer.refresh();
  showState();
}

const organise = (job) => [startItem(job.images[0]), referItem(job.images[0]), ...organiseMenu(jobs.get(job.id), null, hideOf(job.id))];

// How a job or one of its pictures goes from the page, and comes back.
function hideOf(id) {
  const redraw = () => { if (jobs.has(id)) { changed.add(id); repaint(); } viewer.update(); };
  return {
    hide: (targets) => { for (const target of targets) hidden.add(target.id); redraw(); },
    show: (targets) => { for (const target of targets) hidden.delete(target.id); redraw(); },
    onChange: redraw,
  };
}

const announce = (text) => { $("#live").textContent = text; };

function showState() {
  bulksToo.hidden = !isLoading && !tiles.size && !cursor;
  $("#empty").hidden = isLoading || tiles.size > 0 || Boolean(cursor) || !$("#failed").hidden;
  gallery.setAttribute("aria-busy", isLoading);
  $(".studio").classList.toggle("has-pictures", tiles.size > 0);
}

// One's own pictures are not looked for among the lines of bulks, unless there are no others.
async function readMore() {
  for (let read = 0; read < MOST_EMPTY; read += 1) {
    const page = await getJson(`jobs?${wantedJobs(PAGE)}${cursor ? `&cursor=${cursor}` : ""}`);
    page.items.forEach(put);
    cursor = page.next;
    if (page.items.length || !cursor) break;
  }
  if (jobs.size || cursor || showsBulks()) return;
  showBulks(true);
  await readMore();
  if (!jobs.size) showBulks(false);
}

const wantedJobs = (limit) => new URLSearchParams({ limit, ...(!showsBulks() && { origin: "not_bulk" }) });

// What is loaded of bulks goes, or comes. Jobs after the first page come with the next ones, so that none is left out.
async function switchBulks() {
  showBulks(!showsBulks());
  form.dataset.bulks = showsBulks();
  keepDraft();
  const forget = (id) => { jobs.delete(id); remove(id); };
  for (const { id, bulk } of [...jobs.values()]) if (bulk && !showsBulks()) forget(id);
  cursor = null;
  await more();
  for (const id of [...jobs.keys()]) if (cursor && id < cursor) forget(id);
}

async function more() {
  isLoading = true;
  try {
    await readMore();
    $("#failed").hidden = true;
  } catch (error) {
    if (error.status === undefined) throw error;
    $("#failed").hidden = tiles.size > 0;
    $("#failed [data-reason]").textContent = error.message;
  }
  for (const skeleton of gallery.querySelectorAll(".skeleton")) skeleton.remove();
  $("#older").hidden = !cursor;
  repaint();
  requestAnimationFrame(() => { isLoading = false; showState(); });
}

// Loads older jobs if there are any, and waits until they have their tiles.
function older() {
  if (!cursor) return Promise.resolve();
  loading ??= more().then(() => new Promise(requestAnimationFrame)).finally(() => { loading = null; });
  return loading;
}

// What changed before the events began: newer jobs, and deleted ones among the newest.
async function newest() {
  const before = [...tiles.keys()].filter((id) => showsBulks() || !jobs.get(id)?.bulk);
  const { items, oldest } = await readNewer(wantedJobs(NEWEST), before.sort().at(-1));
  const known = new Set(items.map(({ id }) => id));
  for (const id of before) if (id >= oldest && !known.has(id)) drop(id);
  items.forEach(put);
}

// --- start -----------------------------------------------------------------------------------------------------------

const draft = setUpForm(draw);
dock(form);
setUpDescribe(draft?.mode);
setUpPresets();
setUpStart();
setUpControl();
setUpReferences();
setUpDropSettings();
setUpEstimate();
setUpStylePictures();
setUpShapes();
setUpSuggestions();
$("#older").onclick = older;
form.dataset.bulks = draft?.bulks ?? "";
showBulks(draft?.bulks === "true");
bulksToo.onclick = switchBulks;
$("[data-reload]").onclick = more;
addShortcuts(
  { keys: ["Ctrl+Enter"], text: t("Draw"), run: draw },
  { keys: ["/"], text: t("Go to the prompt"), run: () => $("#ask").elements.prompt.focus() },
  { keys: ["ArrowUp", "ArrowDown"], text: t("In an empty prompt: earlier prompts") },
  { keys: ["Escape"], text: t("Close, or leave the field"), run: () => document.activeElement?.blur() },
);
await more();
const wanted = new URLSearchParams(location.search).get("remix");
if (wanted) refresh(wanted).then(remix, () => {});
const first = new URLSearchParams(location.search).get("start");
if (first) startFrom({ id: first, url: `/api/v1/images/${encodeURIComponent(first)}` });
follow({ onConnect: () => { newest().catch(() => {}); } });
// One request a second for all tiles, so that an open page leaves most of a tenant's requests to its programs.
setInterval(() => {
  if (isSlowed()) return;
  const [next] = open().map(({ id }) => tiles.get(id)).filter((tile) => tile?.job).flatMap(looksOf).sort((a, b) => a.at - b.at);
  next?.run().catch(() => {});
}, PREVIEW_MS);
