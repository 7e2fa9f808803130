// Follows jobs: by server-sent events, and by polling, since events may be lost.
import { api } from "./api.js";
import { back, lost } from "./connection.js";
import { drop, jobs, open, putProgress, refresh } from "./jobs.js";

const POLL_MS = 3000;
const RETRY_MS = 2500;
const MOST_POLLED = 20;
const waiting = new Set(); // ids that events named and that are not yet loaded
let events = null; // the stream, while the page is shown
let retry = null;

// `onConnect` loads what may have changed before the events began; `onUnknown(id)` returns false for a job to ignore.
export function follow({ onUnknown = () => {}, onConnect = () => {} } = {}) {
  const page = { onUnknown, onConnect };
  connect(page);
  setInterval(() => { if (!document.hidden) poll(); }, POLL_MS);
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
  const { onUnknown, onConnect } = page;
  events = new EventSource(`${api}/events`);
  events.onopen = () => { back(); poll(); onConnect(); };
  events.onerror = () => {
    lost();
    if (events.readyState !== EventSource.CLOSED) return;
    disconnect(); // it gives up after an error response
    retry = setTimeout(connect, RETRY_MS, page);
  };
  events.addEventListener("job", ({ data }) => {
    const { id } = JSON.parse(data);
    if (!jobs.has(id) && onUnknown(id) === false) return;
    load(id);
  });
  events.addEventListener("deleted", ({ data }) => drop(JSON.parse(data).id));
  events.addEventListener("progress", ({ data }) => putProgress(JSON.parse(data)));
}

async function load(id) {
  if (waiting.has(id)) return;
  waiting.add(id);
  // A burst of events of one job loads it once.
  await new Promise((resolve) => { setTimeout(resolve, 60); });
  waiting.delete(id);
  await refresh(id).catch(() => {});
}

async function poll() {
  await Promise.allSettled(open().slice(0, MOST_POLLED).map(({ id }) => refresh(id)));
}
