// The operator's part of the queue: the queues of all tenants by model, lane and tenant, the pauses, and the workers.
import { getJson } from "./api.js";
import { $, button, el } from "./dom.js";
import { pauseModel, pauseRow, pauseTenant, resumeButton } from "./fleet-pauses.js";
import { showHistory } from "./history.js";
import { number, t } from "./i18n.js";
import { morph } from "./morph.js";
import { count, duration, pauseWords } from "./words.js";
import { workerCard } from "./worker-card.js";

const MOST_COUNTED = 10_000; // waiting jobs of one tenant; the service counts no further
let isOperator = true; // until the service refuses
let tenantNames = [];

const nothing = (text, tag = "p") => el(tag, { className: "nothing" }, text);

export async function showFleet() {
  if (!isOperator) return;
  try {
    const readWorkers = getJson("workers").catch((error) => { if (error.status === 503) return null; throw error; });
    const [queues, tenants, pauses, workers] = await Promise.all([getJson("queues"), getJson("queues/tenants"), getJson("pauses"), readWorkers]);
    fill($("#queues"), queues.items.map(queueCard));
    showTenants(tenants, pauses.items);
    const titles = new Map(queues.items.map(({ model, title }) => [model, title]));
    fill($("#pauses"), pauses.items.map((pause) => pauseRow(pause, titles, showFleet)));
    $("#paused").hidden = !pauses.items.length;
    fill($("#workers"), workerCards(workers, pauses.items));
    await showHistory();
    $("#operator").hidden = false;
  } catch (error) {
    if (error.status !== 403) throw error;
    isOperator = false;
  }
}

// Draws a part. Where the button with the focus goes, the focus passes to the next one of its card or row.
function fill(parent, children) {
  const place = parent.contains(document.activeElement) ? document.activeElement.closest("[data-name], .row") : null;
  morph(parent, children);
  if (place && document.activeElement === document.body) ($("button", place.isConnected ? place : parent) ?? $("#pause-tenant")).focus();
}

function pauseButton(name, onclick) {
  const act = button(t("Pause …"), async () => { if (await onclick()) await showFleet(); }, "small quiet", "pause");
  act.ariaLabel = t("Pause %(name)s", { name });
  return act;
}

// --- models ------------------------------------------------------------------------------------------------------------

function queueCard(queue) {
  const waiting = queue.lanes.reduce((sum, { released, backlog }) => sum + released + backlog, 0);
  const act = queue.paused ? resumeButton(queue.pause, queue.title, showFleet) : pauseButton(queue.title, () => pauseModel(queue));
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

// --- tenants -----------------------------------------------------------------------------------------------------------

function showTenants({ items, more }, pauses) {
  tenantNames = items.map(({ tenant }) => tenant);
  const rows = items.map((queue) => tenantRow(queue, pauses.filter(({ tenant }) => tenant === queue.tenant)));
  if (more) rows.push(el("li", { className: "row" }, el("p", { className: "about" }, t("Other tenants have jobs too."))));
  fill($("#tenants"), rows.length ? rows : [nothing(t("No tenant has jobs that run or could start."), "li")]);
}

function tenantRow({ tenant, waiting, running }, pauses) {
  const waits = `${number(waiting)}${waiting >= MOST_COUNTED ? "+" : ""}`;
  const about = [t("%(n)s waiting", { n: waits }), t("%(n)s running", { n: number(running) })].join(" · ");
  const byOperator = pauses.find(({ own }) => !own);
  const act = byOperator ? resumeButton(byOperator.id, tenant, showFleet) : pauseButton(tenant, () => pauseTenant(tenantNames, tenant));
  return el("li", { className: "row", data: { name: tenant } },
    el("div", {}, el("p", { className: "name", title: tenant }, tenant), el("p", { className: "about" }, about)),
    el("div", { className: "state" }, pauses.length > 0 && el("span", { className: "badge paused" }, byOperator ? t("paused") : t("paused by itself"))),
    el("div", { className: "buttons" }, act));
}

$("#pause-tenant").onclick = async () => { if (await pauseTenant(tenantNames)) await showFleet(); };

// --- workers -----------------------------------------------------------------------------------------------------------

function workerCards(workers, pauses) {
  if (workers === null) return [nothing(t("The workers cannot be listed while Redis is unavailable."))];
  if (!workers.items.length) return [nothing(t("No worker runs. Start one with limner worker."))];
  const orders = new Map(pauses.filter(({ worker }) => worker).map((pause) => [pause.worker, pause]));
  const takes = ({ id, draining }) => !draining && !orders.has(id);
  return workers.items.map((worker) => {
    const isLast = !workers.items.some((other) => other !== worker && takes(other));
    return workerCard(worker, orders.get(worker.id), isLast, showFleet);
  });
}
