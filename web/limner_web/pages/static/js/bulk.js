// The bulk page: checks a file line by line, submits it, and follows the bulks until they end.
import { requestOf } from "./actions.js";
import { api, call, getJson, send } from "./api.js";
import { readBulk } from "./bulk-file.js";
import { onReconnect } from "./connection.js";
import { $, button, el, icon } from "./dom.js";
import { attempt, toast } from "./toast.js";
import { count, duration } from "./words.js";

const REFRESH_MS = 2000;
const OPEN = ["loading", "running", "paused", "canceling"];
const form = $("#compose");
const { text: area, file, skip } = form.elements;
const submit = $("[type=submit]", form);
const limits = JSON.parse($("#limits").textContent);
const cards = new Map(); // bulk id -> element
const rates = new Map(); // bulk id -> {at, ended}, when it was first seen
let models = [];
let read = null;

// --- checking --------------------------------------------------------------------------------------------------------------

const FORMATS = { text: "plain text", csv: "CSV", jsonl: "JSON Lines" };

function check() {
  const text = area.value;
  read = text.trim() ? readBulk(text, models, limits) : null;
  showChecked(read?.errors || []);
}

function showChecked(errors) {
  const parts = [];
  if (read?.requests.length) parts.push(el("p", { className: "note good" }, icon("check"), el("span", {}, `${count(read.requests.length, "line")} of ${FORMATS[read.format]} ${read.requests.length === 1 ? "is" : "are"} ready.`)));
  if (errors.length) {
    const bad = Math.max(read?.bad || 0, errors.length);
    parts.push(el("p", { className: "note bad" }, icon("warn"), el("span", {}, `${count(bad, "line")} ${bad === 1 ? "has" : "have"} an error. Nothing has been sent.`)));
    parts.push(el("div", { className: "errors" }, el("table", {}, el("tbody", {}, errors.map(({ line, message }) => el("tr", {}, el("td", {}, `Line ${line}`), el("td", {}, message)))))));
  }
  $("#checked").replaceChildren(...parts);
  $("#skip").hidden = !errors.length || !read?.requests.length;
  update();
}

function update() {
  const ready = read?.requests.length || 0;
  submit.disabled = !ready || (!$("#skip").hidden && !skip.checked);
  submit.textContent = ready ? `Draw ${count(ready, "job")}` : "Draw";
}

async function take(chosen) {
  if (!chosen) return;
  if (chosen.size > limits.bytes) { toast(`The file is larger than ${Math.round(limits.bytes / 1e6)} MB.`, { bad: true }); return; }
  area.value = await chosen.text();
  check();
}

let typing = null;
area.addEventListener("input", () => { clearTimeout(typing); typing = setTimeout(check, 200); });
file.addEventListener("change", () => take(file.files[0]));
skip.addEventListener("change", update);
for (const name of ["dragover", "dragleave", "drop"]) $("#drop").addEventListener(name, (event) => { event.preventDefault(); $("#drop").classList.toggle("over", name === "dragover"); });
$("#drop").addEventListener("drop", ({ dataTransfer }) => take(dataTransfer.files[0]));

// --- submitting ------------------------------------------------------------------------------------------------------------

async function create(requests, key) {
  const body = requests.map((request) => `${JSON.stringify(request)}\n`).join("");
  const headers = { "Content-Type": "application/jsonl", "Idempotency-Key": key };
  return (await call("bulks", { method: "POST", headers, body })).json();
}

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  if (submit.disabled) return;
  submit.disabled = true;
  const sent = read.requests;
  try {
    const made = await create(sent.map(({ request }) => request), crypto.randomUUID?.() || String(Math.random()));
    area.value = "";
    file.value = "";
    read = null;
    showChecked([]);
    show(made, true);
    toast(`${count(made.total, "job")} queued`);
  } catch (error) {
    if (error.status === undefined) throw error;
    // The service numbers the lines that were sent; the page shows those of the file.
    const errors = (error.problem.errors || []).map(({ line, field, message }) => ({ line: sent[line - 1]?.line ?? line, message: field ? `${field}: ${message}` : message }));
    if (errors.length) {
      read.requests = sent.filter(({ line }) => !errors.some((each) => each.line === line));
      showChecked(errors);
    } else toast(error.message, { bad: true, seconds: 8 });
  } finally {
    update();
  }
});

// --- the bulks -------------------------------------------------------------------------------------------------------------

const act = (bulk, name) => attempt(async () => show(await send("POST", `bulks/${bulk.id}/${name}`)));

async function retryFailed(bulk) {
  const failed = [];
  let cursor = "";
  do {
    const page = await getJson(`jobs?bulk=${bulk.id}&state=failed&limit=100${cursor && `&cursor=${cursor}`}`);
    failed.push(...page.items);
    cursor = page.next;
  } while (cursor);
  show(await create(failed.reverse().map((job) => ({ ...requestOf(job), seed: job.seed, metadata: job.metadata })), `retry-${bulk.id}-${failed.length}`), true);
  toast(`${count(failed.length, "job")} queued again`);
}

function pace(bulk, ended) {
  if (bulk.status !== "running") return "";
  const first = rates.get(bulk.id);
  const seconds = first ? (Date.now() - first.at) / 1000 : 0;
  if (!first) rates.set(bulk.id, { at: Date.now(), ended });
  if (!first || seconds < 3 || ended <= first.ended) return "";
  const rate = (ended - first.ended) / seconds;
  const shown = rate < 1 ? `${Math.max(1, Math.round(rate * 60))} a minute` : `${rate.toFixed(1)} a second`;
  return `${shown} · ${duration((bulk.total - ended) / rate)} left`;
}

function show(bulk, isNew = false) {
  const { succeeded = 0, failed = 0, canceled = 0, running = 0, queued = 0 } = bulk.counts;
  const card = el("article", { className: "panel bulk", id: bulk.id });
  const part = (name, value) => { const bar = el("i", { className: name }); bar.style.width = `${(100 * value) / Math.max(1, bulk.total)}%`; return bar; };
  const isOpen = OPEN.includes(bulk.status);
  const tally = [[succeeded, "done"], [running, "running"], [queued, "waiting"], [failed, "failed"], [canceled, "canceled"], [bulk.skipped?.count || 0, "left out"]].filter(([value]) => value).map(([value, name]) => `${value.toLocaleString("en")} ${name}`);
  card.append(
    el("header", {}, el("h3", {}, count(bulk.total, "job")), el("span", { className: `badge ${bulk.status}` }, bulk.status), el("time", { dateTime: bulk.created_at }, new Date(bulk.created_at).toLocaleString()),
      el("div", { className: "buttons" },
        bulk.status === "running" && button("Pause", () => act(bulk, "pause"), "small", "pause"),
        bulk.status === "paused" && button("Resume", () => act(bulk, "resume"), "small", "play"),
        ["running", "paused"].includes(bulk.status) && button("Cancel", () => act(bulk, "cancel"), "small"),
        failed > 0 && !isOpen && button("Retry failed", () => attempt(() => retryFailed(bulk)), "small", "again"),
        succeeded > 0 && el("a", { className: "btn small", href: `/gallery?bulk=${bulk.id}` }, icon("image"), "Pictures"),
        succeeded > 0 && el("a", { className: "btn small", href: `${api}/bulks/${bulk.id}/results?format=zip`, download: `${bulk.id}.zip` }, icon("download"), "ZIP"))),
    el("div", { className: "meter", role: "img", ariaLabel: tally.join(", ") }, part("succeeded", succeeded), part("failed", failed), part("canceled", canceled), part("running", running)),
    el("p", { className: "tally" }, el("span", {}, tally.join(" · ")), el("span", {}, pace(bulk, succeeded + failed + canceled))));
  const before = cards.get(bulk.id);
  const focused = before?.contains(document.activeElement) ? document.activeElement.textContent : null;
  if (before) before.replaceWith(card);
  else $("#bulks")[isNew ? "prepend" : "append"](card);
  cards.set(bulk.id, card);
  if (focused) [...card.querySelectorAll("button, a")].find(({ textContent }) => textContent === focused)?.focus();
  $("#bulks > .nothing")?.remove();
}

async function load() {
  try {
    const { items } = await getJson("bulks");
    $(".bulk-skeleton")?.remove();
    for (const bulk of items) if (!cards.has(bulk.id) || cards.get(bulk.id).dataset.shown !== JSON.stringify(bulk)) { show(bulk, cards.size > 0 && !cards.has(bulk.id)); cards.get(bulk.id).dataset.shown = JSON.stringify(bulk); }
    if (!items.length && !$("#bulks > .nothing")) $("#bulks").append(el("p", { className: "nothing" }, "No bulks yet."));
    $("#problem").hidden = true;
  } catch (error) {
    if (error.status === undefined) throw error;
    $("#problem").textContent = error.message;
    $("#problem").hidden = error.status === 0; // the banner says it
  }
}

onReconnect(load);
setInterval(() => { if (!document.hidden) load(); }, REFRESH_MS);
await load();
({ items: models } = await getJson("models"));
check();
