// The operator's part of the queue: the queues of all tenants by model and lane, pauses, and the workers.
import { getJson, send } from "./api.js";
import { ask, choice, field } from "./dialog.js";
import { $, button, el } from "./dom.js";
import { showHistory } from "./history.js";
import { attempt, toast } from "./toast.js";
import { count, duration, pauseWords } from "./words.js";

const TIMES = [["", "until I resume it"], [900, "for 15 minutes"], [3600, "for an hour"], [14_400, "for four hours"], [86_400, "for a day"]];
const GIB = 2 ** 30;
let isOperator = true; // until the service refuses

export async function showFleet() {
  if (!isOperator) return;
  try {
    const [queues, workers] = await Promise.all([getJson("queues"), getJson("workers").catch((error) => { if (error.status === 503) return null; throw error; })]);
    redraw($("#queues"), queues.items.map(queueCard));
    redraw($("#workers"), workers === null ? [el("p", { className: "nothing" }, "The workers cannot be listed while Redis is unavailable.")] : workers.items.map(workerCard));
    if (workers && !workers.items.length) $("#workers").replaceChildren(el("p", { className: "nothing" }, "No worker runs. Start one with limner worker."));
    await showHistory();
    $("#operator").hidden = false;
  } catch (error) {
    if (error.status !== 403) throw error;
    isOperator = false;
  }
}

// Draws cards without losing the focus of a button in them.
function redraw(parent, cards) {
  const focused = parent.contains(document.activeElement) ? document.activeElement.closest("[data-name]")?.dataset.name : null;
  parent.replaceChildren(...cards);
  if (focused) [...parent.children].find(({ dataset }) => dataset.name === focused)?.querySelector("button")?.focus();
}

function queueCard(queue) {
  const waiting = queue.lanes.reduce((sum, { released, backlog }) => sum + released + backlog, 0);
  const act = queue.paused ? button("Resume", () => resume(queue), "small", "play") : button("Pause …", () => pause(queue), "small", "pause");
  act.setAttribute("aria-label", `${queue.paused ? "Resume" : "Pause"} ${queue.title}`);
  const state = queue.paused ? el("span", { className: "badge paused" }, "paused") : queue.workers === 0 ? el("span", { className: "badge failed" }, "no worker") : queue.running > 0 && el("span", { className: "badge running" }, "drawing");
  const facts = [`${queue.running.toLocaleString("en")} running`, `${waiting.toLocaleString("en")} waiting`, queue.rate && `${queue.rate.jobs_per_minute.toLocaleString("en")} a minute`, queue.workers !== null && count(queue.workers, "worker")];
  return el("article", { className: "panel fleet-card", data: { name: queue.model } },
    el("header", {}, el("h3", {}, queue.title), state, act),
    el("p", { className: "quiet" }, facts.filter(Boolean).join(" · ")),
    queue.paused && el("p", { className: "note" }, `${pauseWords(queue.paused)}.`),
    lanesOf(queue.lanes.filter(({ released, backlog }) => released + backlog > 0)));
}

function lanesOf(lanes) {
  if (!lanes.length) return el("p", { className: "quiet" }, "Nothing waits.");
  const most = Math.max(...lanes.map(({ released, backlog }) => released + backlog));
  const bar = (name, value) => { const part = el("i", { className: name }); part.style.width = `${(100 * value) / most}%`; return part; };
  return el("ul", { className: "lanes" }, lanes.map(({ lane, released, backlog, oldest_seconds: oldest }) => {
    const words = `${count(released, "job")} released, ${backlog.toLocaleString("en")} in the backlog`;
    return el("li", { title: words }, el("span", { className: "lane" }, lane), el("div", { className: "meter", aria: { role: "img", label: words } }, bar("running", released), bar("canceled", backlog)), el("span", { className: "number" }, (released + backlog).toLocaleString("en")), el("span", { className: "quiet" }, `oldest: ${duration(oldest)}`));
  }));
}

async function pause(queue) {
  const reason = el("input", { name: "reason", maxLength: 200, placeholder: "new weights", autocomplete: "off", autofocus: true });
  const answer = await ask(`Pause ${queue.title}?`, { text: "Running jobs end. Jobs that wait keep their places, and new ones are still accepted.", fields: [field("Reason, shown to those who wait", reason), field("How long", choice("seconds", TIMES))], yes: "Pause it" });
  if (!answer) return;
  const seconds = Number(answer.get("seconds"));
  const until = seconds ? new Date(Date.now() + seconds * 1000).toISOString() : null;
  await attempt(async () => {
    await send("POST", "pauses", { model: queue.model, reason: answer.get("reason").trim() || null, until });
    toast(`${queue.title} is paused`);
    await showFleet();
  });
}

const resume = (queue) => attempt(async () => {
  await send("DELETE", `pauses/${queue.pause}`);
  toast(`${queue.title} goes on`);
  await showFleet();
});

function workerCard(worker) {
  const { memory, jobs } = worker;
  const badge = worker.stalled.length ? ["failed", "stuck"] : worker.draining ? ["paused", "draining"] : worker.closed.length ? ["paused", "recovering"] : worker.held ? ["running", "working"] : ["ok", "ready"];
  const used = memory && Math.min(1, memory.used / memory.total);
  const size = memory && `${(memory.used / GIB).toFixed(1)} of ${(memory.total / GIB).toFixed(0)} GiB`;
  const bar = el("i", { className: "running" });
  bar.style.width = `${100 * (used || 0)}%`;
  const troubles = [worker.stalled.length && `No progress: ${worker.stalled.join(", ")}.`, worker.closed.length && `Paused after failures: ${worker.closed.join(", ")}.`].filter(Boolean).join(" ");
  return el("article", { className: "panel fleet-card", data: { name: worker.id } },
    el("header", {}, el("h3", {}, worker.device), el("span", { className: `badge ${badge[0]}` }, badge[1]), el("code", { title: worker.id }, worker.id)),
    memory && el("div", { className: "memory" }, el("span", { className: "quiet" }, "Memory"), el("div", { className: "meter", aria: { role: "img", label: `${size} of memory used` } }, bar), el("span", { className: "number" }, size)),
    el("p", { className: "quiet" }, `${count(worker.held, "job")} in work · ${worker.models.join(", ")}`),
    troubles && el("p", { className: "note" }, troubles),
    jobs.length > 0 && el("details", {}, el("summary", {}, "Show its jobs"), el("ul", { className: "held" }, jobs.map((job) => el("li", {}, el("code", {}, job.id), el("span", {}, job.model), el("span", { className: "quiet" }, job.attempt > 1 ? `attempt ${job.attempt}` : ""))))));
}
