// The bulk page: checks a file line by line, submits it, and follows the bulks until they end.
import { sameRequestOf } from "./actions.js";
import { api, getJson, isSlowed, make, send } from "./api.js";
import { readBulk } from "./bulk-file.js";
import { onReconnect } from "./connection.js";
import { contactSheet, MOST } from "./contact-sheet.js";
import { bulkEstimate } from "./cost.js";
import { $, $$, button, el, icon } from "./dom.js";
import { hasFiles, takeFiles, toStudio } from "./dropped-file.js";
import { failedLines, readFailed } from "./failed-lines.js";
import { dateTime, number, t, tn } from "./i18n.js";
import { morph, morphInto } from "./morph.js";
import { attempt, toast } from "./toast.js";
import { count, durationLeft, size } from "./words.js";
import { save } from "./zip.js";

const REFRESH_MS = 2000;
const STATES = { loading: t("loading"), running: t("running"), paused: t("paused"), canceling: t("canceling"), canceled: t("canceled"), done: t("done") };
const OPEN = ["loading", "running", "paused", "canceling"];
const form = $("#compose");
const { text: area, file, skip } = form.elements;
const submit = $("[type=submit]", form);
const limits = JSON.parse($("#limits").textContent);
const cards = new Map(); // bulk id -> element
const rates = new Map(); // bulk id -> {at, ended}, when it was first seen
const LARGE = 2_000_000; // bytes, from which a file is not written into the page
let models = [];
let large = null; // a file that stands in the place of the text
let read = null; // what was found in the file or text

// --- checking --------------------------------------------------------------------------------------------------------------

const FORMATS = { text: t("plain text"), csv: "CSV", jsonl: "JSON Lines" };
let typing = null; // the timer of a text that was not checked yet
let reading = null; // the AbortController of what is being read
let refused = new Map(); // line -> what the service said of it

async function check() {
  clearTimeout(typing);
  typing = null;
  reading?.abort();
  const { signal } = reading = new AbortController();
  const source = large ?? new Blob([area.value]);
  read = null;
  submit.disabled = true;
  if (large) showRead();
  try {
    const found = await readBulk(source, models, limits, { refused, signal, onShare: (share) => showLarge({ share }) });
    if (signal.aborted) return;
    read = found;
    showRead();
  } catch (error) {
    if (!signal.aborted) lose(error);
  }
}

function showRead() {
  const { lines = 0, bad = 0, errors = [] } = read ?? {};
  const parts = [];
  if (lines) parts.push(el("p", { className: "note good" }, icon("check"), el("span", {}, tn("%(n)s line of %(format)s is ready.", "%(n)s lines of %(format)s are ready.", lines, { format: FORMATS[read.format] }))));
  if (bad) {
    parts.push(el("p", { className: "note bad" }, icon("warn"), el("span", {}, tn("%(n)s line has an error. Nothing has been sent.", "%(n)s lines have an error. Nothing has been sent.", bad))));
    parts.push(el("div", { className: "errors" }, el("table", {}, el("tbody", {}, errors.map(({ line, message }) => el("tr", {}, el("td", {}, t("Line %(n)s", { n: number(line) })), el("td", {}, message)))))));
  }
  $("#checked").replaceChildren(...parts);
  $("#skip").hidden = !bad || !lines;
  showEstimate(read?.kinds ?? new Map());
  showLarge({ share: read ? 1 : 0, lines: lines + bad });
  update();
}

const showEstimate = bulkEstimate($("#estimate"), (name) => models.find((model) => (name ? model.name === name : model.default)));

function update() {
  const ready = read?.jobs || 0;
  submit.disabled = !ready || (!$("#skip").hidden && !skip.checked);
  submit.textContent = ready ? tn("Draw %(n)s job", "Draw %(n)s jobs", ready) : t("Draw");
}

// --- the file --------------------------------------------------------------------------------------------------------------

// A large file in the place of the text, and which share of it has been read.
function showLarge({ share, lines = 0 }) {
  const card = $("#large");
  card.hidden = !large;
  $("#written").hidden = Boolean(large);
  if (!large) return;
  const facts = [size(large.size), share === 1 && tn("%(n)s line", "%(n)s lines", lines)].filter(Boolean).join(" · ");
  const progress = share < 1 && el("progress", { value: share, ariaLabel: t("Reading …") });
  morph(card, [icon("text"), el("p", {}, el("b", {}, large.name), el("span", { className: "quiet" }, facts)), button(t("Remove"), () => { put(null); area.focus(); }, "small"), ...(progress ? [progress] : [])]);
}

// Puts a file in the place of the text, or none.
function put(chosen) {
  large = chosen;
  refused = new Map();
  showLarge({ share: 0 });
  check();
}

// A file that has been changed or removed since it was chosen cannot be read.
function lose(error) {
  if (error.name !== "NotReadableError" && error.name !== "NotFoundError") throw error;
  toast(t("The file cannot be read. It may have changed: choose it again."), { bad: true, seconds: 8 });
  put(null);
}

async function take(chosen) {
  if (!chosen) return;
  if (chosen.size > limits.bytes) { toast(t("The file is larger than %(size)s.", { size: size(limits.bytes) }), { bad: true }); return; }
  if (chosen.size > LARGE) { put(chosen); return; }
  const text = await chosen.text().catch(lose);
  if (text === undefined) return;
  area.value = text;
  put(null);
}

area.addEventListener("input", () => { refused = new Map(); clearTimeout(typing); typing = setTimeout(check, 200); });
file.addEventListener("change", () => { const [chosen] = file.files; file.value = ""; take(chosen); });
skip.addEventListener("change", update);
for (const name of ["dragover", "dragleave", "drop"]) document.addEventListener(name, (event) => { $("#drop").classList.toggle("over", name === "dragover" && hasFiles(event)); });
takeFiles(async (dropped) => {
  if (dropped.type.startsWith("image/")) { toStudio(dropped); return; }
  const before = area.value;
  await take(dropped);
  if (before.trim() && before !== area.value) toast(t("“%(name)s” is in the place of what was written.", dropped), { action: t("Undo"), onAction: () => { area.value = before; put(null); } });
});

// --- submitting ------------------------------------------------------------------------------------------------------------

const linesOf = (requests) => requests.map((request) => `${JSON.stringify(request)}\n`).join("");

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  if (typing) await check();
  if (submit.disabled) return;
  submit.disabled = true;
  const { body, lineOf } = read;
  try {
    await large?.slice(0, 1).arrayBuffer(); // a file that has changed would end the request without an answer
    const made = await make("bulks", large ? body : await body.text(), { type: "application/jsonl" });
    area.value = large ? area.value : "";
    put(null);
    show(made);
    toast(tn("%(n)s job queued", "%(n)s jobs queued", made.total));
  } catch (error) {
    if (error.status === undefined) { lose(error); return; }
    // The service numbers the lines that were sent; the page shows those of the file.
    const errors = error.problem.errors || [];
    for (const { line, field, message } of errors) refused.set(lineOf(line) ?? line, field ? `${field}: ${message}` : message);
    if (errors.length) await check();
    else toast(error.message, { bad: true, seconds: 8 });
  } finally {
    update();
  }
});

// --- the bulks -------------------------------------------------------------------------------------------------------------

const act = (bulk, name) => attempt(async () => show(await send("POST", `bulks/${bulk.id}/${name}`)));

async function retryFailed(bulk) {
  const failed = await readFailed(bulk.id);
  const body = linesOf(failed.map((job) => ({ ...sameRequestOf(job), metadata: job.metadata })));
  show(await make("bulks", body, { type: "application/jsonl", key: `retry-${bulk.id}-${failed.length}` }));
  toast(tn("%(n)s job queued again", "%(n)s jobs queued again", failed.length));
}

async function saveSheet(bulk) {
  const { sheet, count: all } = await contactSheet(bulk.id);
  save(sheet, `${bulk.id}.png`);
  if (all > MOST) toast(t("The first %(n)s pictures are on the sheet.", { n: number(MOST) }));
}

function pace(bulk, ended) {
  if (bulk.status !== "running") return "";
  const first = rates.get(bulk.id);
  const seconds = first ? (Date.now() - first.at) / 1000 : 0;
  if (!first) rates.set(bulk.id, { at: Date.now(), ended });
  if (!first || seconds < 3 || ended <= first.ended) return "";
  const rate = (ended - first.ended) / seconds;
  const shown = rate < 1 ? t("%(n)s a minute", { n: number(Math.max(1, Math.round(rate * 60))) }) : t("%(n)s a second", { n: number(rate, { maximumFractionDigits: 1 }) });
  return `${shown} · ${durationLeft((bulk.total - ended) / rate)}`;
}

function show(bulk) {
  const { succeeded = 0, failed = 0, canceled = 0, running = 0, queued = 0 } = bulk.counts;
  const card = el("article", { className: "panel bulk", id: bulk.id });
  const part = (name, value) => { const bar = el("i", { className: name }); bar.style.width = `${(100 * value) / Math.max(1, bulk.total)}%`; return bar; };
  const isOpen = OPEN.includes(bulk.status);
  const tally = [
    succeeded && t("%(n)s done", { n: number(succeeded) }), running && t("%(n)s running", { n: number(running) }), queued && t("%(n)s waiting", { n: number(queued) }), failed && t("%(n)s failed", { n: number(failed) }),
    canceled && t("%(n)s canceled", { n: number(canceled) }), bulk.skipped?.count && t("%(n)s left out", { n: number(bulk.skipped.count) }),
  ].filter(Boolean);
  card.append(
    el("header", {}, el("h3", {}, count(bulk.total, "job")), el("span", { className: `badge ${bulk.status}` }, STATES[bulk.status] ?? bulk.status), el("time", { dateTime: bulk.created_at }, dateTime(bulk.created_at)),
      el("div", { className: "buttons" },
        bulk.status === "running" && button(t("Pause"), () => act(bulk, "pause"), "small", "pause"),
        bulk.status === "paused" && button(t("Resume"), () => act(bulk, "resume"), "small", "play"),
        ["running", "paused"].includes(bulk.status) && button(t("Cancel"), () => act(bulk, "cancel"), "small"),
        failed > 0 && !isOpen && button(t("Retry failed"), () => attempt(() => retryFailed(bulk)), "small", "again"),
        succeeded > 0 && el("a", { className: "btn small", href: `/gallery?bulk=${bulk.id}` }, icon("image"), t("Pictures")),
        succeeded > 0 && el("a", { className: "btn small", href: `${api}/bulks/${bulk.id}/results?format=zip`, download: `${bulk.id}.zip` }, icon("download"), "ZIP"),
        succeeded > 0 && button(t("Contact sheet"), () => attempt(() => saveSheet(bulk)), "small", "image"))),
    el("div", { className: "meter", role: "img", ariaLabel: tally.join(", ") }, part("succeeded", succeeded), part("failed", failed), part("canceled", canceled), part("running", running)),
    el("p", { className: "tally" }, el("span", {}, tally.join(" · ")), el("span", {}, pace(bulk, succeeded + failed + canceled))),
    ...(failed > 0 ? [failedLines(bulk.id, failed, () => attempt(async () => show(await getJson(`bulks/${bulk.id}`))))] : []));
  const before = cards.get(bulk.id);
  if (before) morphInto(before, card);
  else {
    const older = $$("#bulks > .bulk").find(({ id }) => id < bulk.id);
    if (older) older.before(card);
    else $("#bulks").append(card);
    cards.set(bulk.id, card);
  }
  $("#bulks > .nothing")?.remove();
}

const MOST_REFRESHED = 100; // as many as one request lists
let rest; // the cursor of the bulks that are older than those shown; null: there are none

function showPage({ items, next }, isLast) {
  for (const bulk of items) {
    const shown = JSON.stringify(bulk);
    if (cards.get(bulk.id)?.dataset.shown !== shown) { show(bulk); cards.get(bulk.id).dataset.shown = shown; }
  }
  if (!isLast) return;
  rest = next;
  $("#older-bulks").hidden = !rest;
}

async function load() {
  try {
    const limit = Math.min(MOST_REFRESHED, Math.max(20, cards.size));
    showPage(await getJson(`bulks?limit=${limit}`), rest === undefined);
    $(".bulk-skeleton")?.remove();
    if (!cards.size && !$("#bulks > .nothing")) $("#bulks").append(el("p", { className: "nothing" }, t("No bulks yet.")));
    $("#problem").hidden = true;
  } catch (error) {
    if (error.status === undefined) throw error;
    $("#problem").textContent = error.message;
    $("#problem").hidden = error.status === 0; // the banner says it
  }
}

$("#older-bulks").onclick = () => attempt(async () => showPage(await getJson(`bulks?cursor=${rest}`), true));
onReconnect(load);
setInterval(() => { if (!document.hidden && !isSlowed()) load(); }, REFRESH_MS);
await load();
({ items: models } = await getJson("models"));
check();
