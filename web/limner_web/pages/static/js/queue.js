// The queue: the tenant's running and waiting jobs by model and priority, the workers, and what stopped with them.
import { cancel, retry } from "./actions.js";
import { call, getJson, isSlowed, send } from "./api.js";
import { cancelWaiting, showCancellations } from "./cancel-waiting.js";
import { onReconnect } from "./connection.js";
import { $, button, el } from "./dom.js";
import { why } from "./explanation.js";
import { number, t, tn } from "./i18n.js";
import { jobs, put, watch } from "./jobs.js";
import { follow } from "./live.js";
import { openMenu } from "./menu.js";
import { morph } from "./morph.js";
import { showFleet } from "./operator.js";
import { showOwnPause } from "./own-pause.js";
import { attempt, toast } from "./toast.js";
import { count, ended, facts, PRIORITY, status } from "./words.js";

const REFRESH_MS = 8000; // while something changes
const IDLE_MS = 30_000;
const LOOK_MS = 1000;
const MOST_READ = 100; // jobs of each state
const PRIORITIES = ["high", "normal", "low"];
const HEALTH = { ok: t("All well"), degraded: t("Updates are slow"), overloaded: t("At its limit"), unavailable: t("Not available") };
let deadLetters = [];
let unlisted = 0; // jobs that wait beyond those that were read
let [readAt, isChanged, asked] = [0, false, 0];

function row(job, buttons) {
  const { said, detail } = status(job);
  const progress = job.status === "running" && job.progress && el("progress", { max: job.progress.total, value: job.progress.done, ariaLabel: t("Progress") });
  return el("li", { className: "row", id: job.id },
    el("div", {}, el("p", { className: "name", title: job.prompt }, job.prompt), el("p", { className: "about" }, `${job.model} · ${facts(job)}`)),
    el("div", { className: "state" }, [said, detail].filter(Boolean).join(" · "), progress), el("div", { className: "buttons" }, buttons));
}

const cancelButton = (job) => button(t("Cancel"), () => cancel(job), "small");
const CLASSES = { high: t("Draw first: high priority"), normal: t("In between: normal priority"), low: t("Draw last: low priority") };

async function move(job, priority) {
  put(await send("PUT", `jobs/${job.id}/priority`, { priority }));
  draw();
}

function moveButton(job) {
  const others = PRIORITIES.filter((each) => each !== job.priority);
  const more = button(t("Move …"), () => openMenu(more, others.map((each) => ({ icon: "queue", text: CLASSES[each], onClick: () => attempt(() => move(job, each)) }))), "small quiet");
  more.setAttribute("aria-haspopup", "menu");
  return more;
}

const waitingButtons = (job) => [moveButton(job), button(t("Why?"), () => why(job), "small quiet"), cancelButton(job)];
const nothing = (text) => el("p", { className: "nothing" }, text);
const byAge = (a, b) => (a.id < b.id ? -1 : 1);

// Draws a list; the focus follows a job from one list to another.
function fill(parent, children) {
  const focused = parent.contains(document.activeElement) ? document.activeElement.closest(".row")?.id : null;
  morph(parent, children);
  if (focused && document.activeElement === document.body) document.getElementById(focused)?.querySelector(".buttons :last-child")?.focus();
}

function draw() {
  const all = [...jobs.values()];
  const running = all.filter((job) => job.status === "running").sort(byAge);
  const waiting = all.filter((job) => job.status === "queued").sort(byAge);
  fill($("#running"), running.length ? running.map((job) => row(job, cancelButton(job))) : [el("li", { className: "nothing" }, t("Nothing runs now."))]);
  const groups = Map.groupBy(waiting, (job) => `${job.model}\n${job.priority}`);
  const order = [...groups].sort(([, [a]], [, [b]]) => PRIORITIES.indexOf(a.priority) - PRIORITIES.indexOf(b.priority) || a.model.localeCompare(b.model));
  fill($("#waiting"), order.length ? [...order.map(([, members]) => group(members)), ...(unlisted ? [nothing(tn("%(n)s more job waits.", "%(n)s more jobs wait.", unlisted))] : [])] : [nothing(t("Nothing waits."))]);
  fill($("#dead-list"), deadLetters.map((job) => row(job, button(t("Try again"), () => retryDead(job), "small", "again"))));
  $("#dead").hidden = !deadLetters.length;
  if (running.length < MOST_READ) figure("running", running.length);
  figure("queued", waiting.length + unlisted);
  $("#cancel-all").hidden = waiting.length < 2;
}

async function cancelAll(wanted, title) {
  await cancelWaiting(wanted, title);
  await tick();
}

function cancelGroup({ model, priority }) {
  const title = t("Cancel what waits of %(model)s with %(priority)s?", { model, priority: PRIORITY[priority] });
  return Object.assign(button(t("Cancel these …"), () => cancelAll({ model, priority }, title), "small quiet"), { ariaLabel: title });
}

function group(members) {
  const [{ model, priority }] = members;
  return el("div", { className: "group", data: { name: `${model} ${priority}` } },
    el("h3", {}, model, el("span", { className: "badge" }, PRIORITY[priority]), el("span", { className: "quiet" }, count(members.length, "job")), members.length > 1 && cancelGroup(members[0])),
    el("ol", { className: "rows" }, members.map((job) => row(job, waitingButtons(job)))));
}

$("#cancel-all").onclick = () => cancelAll({}, t("Cancel everything that waits?"));

async function retryDead(job) {
  if (await retry(job)) { deadLetters = deadLetters.filter(({ id }) => id !== job.id); draw(); }
}

$("[data-retry-all]").onclick = () => attempt(async () => {
  const { jobs: made } = await send("POST", "jobs/retry", {});
  toast(tn("%(n)s job tried again", "%(n)s jobs tried again", made.length));
  await load();
});

// --- figures -------------------------------------------------------------------------------------------------------------

const figure = (name, value) => { $(`[data-figure=${name}]`).textContent = typeof value === "number" ? number(value) : value; };

// An unavailable service says so with an error status and the same body.
const health = () => call("/readyz").then((answer) => answer.json(), (error) => { if (error.problem?.workers) return error.problem; throw error; });

async function load() {
  const [ready, usage, running, queued, dead] = await Promise.all([
    health(), getJson("usage"), ...["status=running", "status=queued", "dead=true"].map((wanted) => getJson(`jobs?${wanted}&limit=${MOST_READ}`)),
  ]);
  const open = new Set([...running.items, ...queued.items].map(({ id }) => id));
  for (const job of jobs.values()) if (!open.has(job.id)) jobs.delete(job.id);
  [...running.items, ...queued.items].forEach(put);
  deadLetters = dead.items;
  unlisted = Math.max(0, usage.queued - queued.items.length);
  for (const [name, value] of [["running", usage.running], ["rate", usage.recent_images], ["workers", ready.workers.running]]) figure(name, value);
  $("#figures").setAttribute("aria-busy", "false");
  showHealth(ready);
  draw();
}

function showHealth(health) {
  const badge = $("#health");
  badge.className = `badge end ${health.status}`;
  const waits = health.status === "degraded" && health.store === "failing";
  badge.textContent = waits ? t("Pictures wait for storage") : HEALTH[health.status] || health.status;
  $("[data-workers]").textContent = tn("worker", "workers", health.workers.running);
  const words = [
    health.workers.running === 0 && t("No worker runs, so that nothing is drawn: start one with limner worker."),
    health.workers.paused.length && t("A worker has paused %(models)s after failures; it tries again by itself.", { models: health.workers.paused.join(", ") }),
    health.workers.stalled.length && t("A worker makes no progress: %(models)s.", { models: health.workers.stalled.join(", ") }),
    health.dispatchers.running === 0 && t("No dispatcher runs, so that waiting jobs are not released."),
  ].filter(Boolean);
  $("#warning").hidden = !words.length;
  $("#warning").textContent = words.join(" ");
}

// An answer that comes late does not hide the problem of a later question.
async function tick() {
  const own = ++asked;
  [readAt, isChanged] = [Date.now(), false];
  try {
    await Promise.all([load(), showFleet(), showOwnPause(), showCancellations(tick)]);
    if (own === asked) $("#problem").hidden = true;
  } catch (error) {
    if (error.status === undefined) throw error;
    $("#problem").textContent = error.message;
    $("#problem").hidden = error.status === 0; // the banner says it
  }
}

const change = () => { isChanged = true; };

watch((job, before) => {
  if (job?.status !== before?.status) change();
  if (job && ended(job)) jobs.delete(job.id);
  if (before) draw();
});
// Jobs that ended while they were not on the page are not loaded: they may be a million.
follow({ onConnect: change, onBulk: change, onUnknown: (_, job) => { change(); return !ended(job); } });
onReconnect(tick);
setInterval(() => {
  if (document.hidden || isSlowed()) return;
  if (Date.now() - readAt >= (isChanged ? REFRESH_MS : IDLE_MS)) tick();
}, LOOK_MS);
await tick();
