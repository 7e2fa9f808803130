// The operator's part of the queue: the queues of all tenants by model and lane, pauses, and the workers.
import { getJson, send } from "./api.js";
import { ask, choice, field } from "./dialog.js";
import { $, button, el } from "./dom.js";
import { showHistory } from "./history.js";
import { dateTime, number, t, tn } from "./i18n.js";
import { morph } from "./morph.js";
import { attempt, toast } from "./toast.js";
import { count, duration, PAUSE_TIMES, pauseEnd, pauseWords } from "./words.js";

const GIB = 2 ** 30;
let isOperator = true; // until the service refuses

export async function showFleet() {
  if (!isOperator) return;
  try {
    const [queues, pauses, workers] = await Promise.all([getJson("queues"), getJson("pauses"), getJson("workers").catch((error) => { if (error.status === 503) return null; throw error; })]);
    morph($("#queues"), queues.items.map(queueCard));
    morph($("#workers"), workers === null ? [el("p", { className: "nothing" }, t("The workers cannot be listed while Redis is unavailable."))] : workers.items.map(workerCard));
    if (workers && !workers.items.length) $("#workers").replaceChildren(el("p", { className: "nothing" }, t("No worker runs. Start one with limner worker.")));
    showPauses(pauses.items.filter(({ model }) => !model));
    await showHistory();
    $("#operator").hidden = false;
  } catch (error) {
    if (error.status !== 403) throw error;
    isOperator = false;
  }
}

// Models say on their cards that they are paused.
function showPauses(pauses) {
  morph($("#pauses"), pauses.map(pauseRow));
  $("#paused").hidden = !pauses.length;
}

function pauseRow(pause) {
  const { id, tenant, worker, own, reason, until } = pause;
  const name = tenant ?? worker;
  const what = worker ? t("A worker that takes no new jobs") : own ? t("A tenant that paused itself") : t("A tenant whose jobs wait");
  const state = [reason, until && t("until %(time)s", { time: dateTime(until) })].filter(Boolean).join(", ");
  const act = Object.assign(button(t("Resume"), () => resume(id, name), "small", "play"), { ariaLabel: t("Resume %(name)s", { name }) });
  return el("li", { className: "row", id }, el("div", {}, el("p", { className: "name", title: name }, name), el("p", { className: "about" }, what)), el("div", { className: "state" }, state), el("div", { className: "buttons" }, act));
}

function queueCard(queue) {
  const waiting = queue.lanes.reduce((sum, { released, backlog }) => sum + released + backlog, 0);
  const act = queue.paused ? button(t("Resume"), () => resume(queue.pause, queue.title), "small", "play") : button(t("Pause …"), () => pause(queue), "small quiet", "pause");
  act.dataset.pause = queue.pause ?? "";
  act.setAttribute("aria-label", queue.paused ? t("Resume %(name)s", { name: queue.title }) : t("Pause %(name)s", { name: queue.title }));
  const state = queue.paused ? el("span", { className: "badge paused" }, t("paused")) : queue.workers === 0 ? el("span", { className: "badge failed" }, t("no worker")) : queue.running > 0 && el("span", { className: "badge running" }, t("drawing"));
  const facts = [t("%(n)s running", { n: number(queue.running) }), t("%(n)s waiting", { n: number(waiting) }), queue.rate && t("%(n)s a minute", { n: number(queue.rate.jobs_per_minute) }), queue.workers !== null && count(queue.workers, "worker")];
  return el("article", { className: "panel fleet-card", data: { name: queue.model } },
    el("header", {}, el("h3", {}, queue.title), state, act),
    el("p", { className: "quiet" }, facts.filter(Boolean).join(" · ")),
    queue.paused && el("p", { className: "note" }, `${pauseWords(queue.paused)}.`),
    lanesOf(queue.lanes.filter(({ released, backlog }) => released + backlog > 0)));
}

function lanesOf(lanes) {
  if (!lanes.length) return el("p", { className: "quiet" }, t("Nothing waits."));
  const most = Math.max(...lanes.map(({ released, backlog }) => released + backlog));
  const bar = (name, value) => { const part = el("i", { className: name }); part.style.width = `${(100 * value) / most}%`; return part; };
  return el("ul", { className: "lanes" }, lanes.map(({ lane, released, backlog, oldest_seconds: oldest }) => {
    const words = t("%(released)s released, %(backlog)s in the backlog", { released: count(released, "job"), backlog: number(backlog) });
    return el("li", { title: words }, el("span", { className: "lane" }, lane), el("div", { className: "meter", aria: { role: "img", label: words } }, bar("running", released), bar("canceled", backlog)), el("span", { className: "number" }, number(released + backlog)), el("span", { className: "quiet" }, t("oldest: %(time)s", { time: duration(oldest) })));
  }));
}

async function pause(queue) {
  const reason = el("input", { name: "reason", maxLength: 200, placeholder: t("new weights"), autocomplete: "off", autofocus: true });
  const answer = await ask(t("Pause %(name)s?", { name: queue.title }), { text: t("Running jobs end. Jobs that wait keep their places, and new ones are still accepted."), fields: [field(t("Reason, shown to those who wait"), reason), field(t("How long"), choice("seconds", PAUSE_TIMES))], yes: t("Pause it") });
  if (!answer) return;
  const until = pauseEnd(answer.get("seconds"));
  await attempt(async () => {
    await send("POST", "pauses", { model: queue.model, reason: answer.get("reason").trim() || null, until });
    toast(t("%(name)s is paused", { name: queue.title }));
    await showFleet();
  });
}

const resume = (pauseId, name) => attempt(async () => {
  await send("DELETE", `pauses/${pauseId}`);
  toast(t("%(name)s goes on", { name }));
  await showFleet();
});

function workerCard(worker) {
  const { memory, jobs } = worker;
  const badge = worker.stalled.length ? ["failed", t("stuck")] : worker.draining ? ["paused", t("draining")] : worker.closed.length ? ["paused", t("recovering")] : worker.held ? ["running", t("working")] : ["ok", t("ready")];
  const used = memory && Math.min(1, memory.used / memory.total);
  const size = memory && t("%(used)s of %(total)s GiB", { used: number(memory.used / GIB, { maximumFractionDigits: 1 }), total: number(memory.total / GIB, { maximumFractionDigits: 0 }) });
  const bar = el("i", { className: "running" });
  bar.style.width = `${100 * (used || 0)}%`;
  const troubles = [worker.stalled.length && t("No progress: %(models)s.", { models: worker.stalled.join(", ") }), worker.closed.length && t("Paused after failures: %(models)s.", { models: worker.closed.join(", ") })].filter(Boolean).join(" ");
  return el("article", { className: "panel fleet-card", data: { name: worker.id } },
    el("header", {}, el("h3", {}, worker.device), el("span", { className: `badge ${badge[0]}` }, badge[1]), el("code", { title: worker.id }, worker.id)),
    memory && el("div", { className: "memory" }, el("span", { className: "quiet" }, t("Memory")), el("div", { className: "meter", aria: { role: "img", label: t("%(size)s of memory used", { size }) } }, bar), el("span", { className: "number" }, size)),
    el("p", { className: "quiet" }, `${tn("%(n)s job in work", "%(n)s jobs in work", worker.held)} · ${worker.models.join(", ")}`),
    troubles && el("p", { className: "note" }, troubles),
    jobs.length > 0 && el("details", {}, el("summary", {}, t("Show its jobs")), el("ul", { className: "held" }, jobs.map((job) => el("li", {}, el("code", {}, job.id), el("span", {}, job.model), el("span", { className: "quiet" }, job.attempt > 1 ? t("attempt %(n)s", { n: job.attempt }) : ""))))));
}
