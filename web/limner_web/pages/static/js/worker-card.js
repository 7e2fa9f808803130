// The card of a worker: its device and memory, what it does and how fast, and the order to drain it.
import { button, el } from "./dom.js";
import { drain, resumeButton } from "./fleet-pauses.js";
import { number, t, tn } from "./i18n.js";

const GIB = 2 ** 30;

// An order is known before the worker has read it.
function badgeOf({ stalled, draining, closed, held }, order) {
  if (stalled.length) return ["failed", t("stuck")];
  if (draining && order && !held) return ["paused", t("drained")];
  if (draining || order) return ["paused", t("draining")];
  if (closed.length) return ["paused", t("recovering")];
  return held ? ["running", t("working")] : ["ok", t("ready")];
}

function drainNote({ draining, held }, order) {
  if (!order) return draining && t("It takes no new jobs.");
  const words = draining && !held ? t("It holds no job: it can be stopped.") : t("It takes no new jobs. What it does not finish soon continues on other workers.");
  return order.reason ? `${words} ${t("Reason: %(reason)s", order)}` : words;
}

function memoryBar({ used, total }) {
  const size = t("%(used)s of %(total)s GiB", { used: number(used / GIB, { maximumFractionDigits: 1 }), total: number(total / GIB, { maximumFractionDigits: 0 }) });
  const bar = el("i", { className: "running" });
  bar.style.width = `${100 * Math.min(1, used / total)}%`;
  return el("div", { className: "memory" }, el("span", { className: "quiet" }, t("Memory")), el("div", { className: "meter", aria: { role: "img", label: t("%(size)s of memory used", { size }) } }, bar), el("span", { className: "number" }, size));
}

function heldJobs(jobs) {
  const lines = jobs.map((job) => el("li", {}, el("code", {}, job.id), el("span", {}, job.model), el("span", { className: "quiet" }, job.attempt > 1 ? t("attempt %(n)s", { n: job.attempt }) : "")));
  return el("details", {}, el("summary", {}, t("Show its jobs")), el("ul", { className: "held" }, lines));
}

function drainButton(worker, isLast, onDone) {
  const act = button(t("Drain …"), async () => { if (await drain(worker, isLast)) await onDone(); }, "small quiet", "pause");
  act.dataset.last = isLast;
  act.ariaLabel = t("Drain %(name)s", { name: worker.id });
  return act;
}

// `order` is the pause that drains the worker, if there is one; `isLast` says that no other worker takes jobs.
export function workerCard(worker, order, isLast, onDone) {
  const { id, device, memory, jobs, held, models, rate, stalled, closed, draining } = worker;
  const [kind, badge] = badgeOf(worker, order);
  const troubles = [stalled.length && t("No progress: %(models)s.", { models: stalled.join(", ") }), closed.length && t("Paused after failures: %(models)s.", { models: closed.join(", ") })].filter(Boolean).join(" ");
  const note = drainNote(worker, order);
  const facts = [tn("%(n)s job in work", "%(n)s jobs in work", held), rate && t("%(n)s a minute", { n: number(rate.jobs_per_minute) }), models.join(", ")];
  return el("article", { className: "panel fleet-card", data: { name: id } },
    el("header", {}, el("h3", {}, device), el("span", { className: `badge ${kind}` }, badge), order ? resumeButton(order.id, id, onDone) : !draining && drainButton(worker, isLast, onDone)),
    el("code", { title: id }, id),
    memory && memoryBar(memory),
    el("p", { className: "quiet" }, facts.filter(Boolean).join(" · ")),
    note && el("p", { className: "note" }, note),
    troubles && el("p", { className: "note" }, troubles),
    jobs.length > 0 && heldJobs(jobs));
}
