// Follows jobs: by server-sent events, and by polling, since events may be lost.
import { api, isSlowed, slowedFor } from "./api.js";
import { back, lost } from "./connection.js";
import { drop, jobs, open, putProgress, refreshAll } from "./jobs.js";

const POLL_MS = 3000;
const RETRY_MS = 2500;
const MOST_POLLED = 100; // the most that the API reads at once
const CATCH_UP_MS = 3000; // a bulk says once a second that its jobs have changed
const SOON_MS = 60;
const LOAD_MS = 600; // between two requests for jobs that events named
const waiting = new Set(); // ids that events named and that are not yet loaded
let loadedAt = 0;
let events = null; // the stream, while the page is shown
let retry = null;

// `onConnect` loads what may have changed before the events began; `onUnknown(id, job)` returns false for a job to
// ignore, whose `status` the event says. The jobs of bulks have no events of their own: `onBulk(id)` loads those of a
// bulk, at most once in some seconds.
export function follow({ onUnknown = () => {}, onConnect = () => {}, onBulk = () => {} } = {}) {
  const page = { onUnknown, onConnect, onBulk: onceInAWhile(onBulk) };
  connect(page);
  setInterval(() => { if (!document.hidden && !isSlowed()) poll(); }, POLL_MS);
  document.addEventListener("visibilitychange", () => { if (document.hidden) disconnect(); else connect(page); });
}

// A browser opens about six connections to a service for all of its tabs, so that a hidden page keeps none.
function disconnect() {
  clearTimeout(retry);
  events?.close();
  events = null;
}

function connect(page) {
  if (document.hidden || events) return;
  const { onUnknown, onConnect, onBulk } = page;
  events = new EventSource(`${api}/events`);
  events.onopen = () => { back(); poll(); onConnect(); };
  events.onerror = () => {
    lost();
    if (events.readyState !== EventSource.CLOSED) return;
    disconnect(); // it gives up after an error response
    retry = setTimeout(connect, RETRY_MS, page);
  };
  events.addEventListener("job", ({ data }) => {
    const job = JSON.parse(data);
    if (!jobs.has(job.id) && onUnknown(job.id, job) === false) return;
    load(job.id);
  });
  events.addEventListener("bulk", ({ data }) => onBulk(JSON.parse(data).id));
  events.addEventListener("reset", () => { poll(); onConnect(); }); // more was missed than was sent
  events.addEventListener("deleted", ({ data }) => drop(JSON.parse(data).id));
  events.addEventListener("progress", ({ data }) => putProgress(JSON.parse(data)));
}

// Runs `work` for each id at once and then, while there are further calls, at most once in some seconds.
function onceInAWhile(work) {
  const due = new Map(); // id -> whether there were further calls
  return function run(id) {
    if (due.has(id)) { due.set(id, true); return; }
    due.set(id, false);
    work(id);
    setTimeout(() => { const isDue = due.get(id); due.delete(id); if (isDue) run(id); }, CATCH_UP_MS);
  };
}

// A burst of events loads all of its jobs by one request.
function load(id) {
  if (!waiting.size) setTimeout(loadWaiting, Math.max(SOON_MS, loadedAt + LOAD_MS - Date.now(), slowedFor()));
  waiting.add(id);
}

async function loadWaiting() {
  loadedAt = Date.now();
  const ids = [...waiting];
  waiting.clear();
  for (let at = 0; at < ids.length; at += MOST_POLLED) {
    const some = ids.slice(at, at + MOST_POLLED);
    await refreshAll(some).catch(() => { if (isSlowed()) some.forEach(load); });
  }
}

const poll = () => refreshAll(open().slice(0, MOST_POLLED).map(({ id }) => id)).catch(() => {});
