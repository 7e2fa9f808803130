// The operator's charts of the last hour: the queue, what was finished and what failed, and how long it took.
import { getJson } from "./api.js";
import { chart } from "./chart.js";
import { $, el } from "./dom.js";

const REFRESH_MS = 30_000;
const ENDS = ["an hour ago", "now"];
let loadedAt = 0;

const time = (at) => new Date(at).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
const seconds = (value) => (value === null ? "–" : value < 10 ? `${value.toFixed(1)} s` : value < 100 ? `${Math.round(value)} s` : `${Math.round(value / 60)} min`);
const number = (value) => value.toLocaleString("en");
const known = (values) => values.filter((value) => value !== null);

function card(title, legend, image) {
  const marks = legend.map(([className, text]) => el("li", {}, el("i", { className }), text));
  return el("figure", { className: "panel" }, el("figcaption", {}, el("h3", {}, title), el("ul", { className: "legend" }, marks)), image);
}

function waitingCard(items) {
  const values = items.map(({ waiting }) => waiting);
  const now = known(values).at(-1);
  const tells = items.map(({ at, waiting }) => `${time(at)}: ${waiting === null ? "not measured" : `${number(waiting)} waiting`}`);
  const label = known(values).length ? `Waiting jobs in the last hour: now ${number(now)}, at most ${number(Math.max(...known(values)))}` : "Waiting jobs: not measured in the last hour";
  return card("Waiting", [["first", now === undefined ? "not measured" : `${number(now)} now`]], chart({ series: [{ values, className: "first" }], kind: "lines", tells, ends: ENDS, label }));
}

function finishedCard(items) {
  const [done, failed] = ["succeeded", "failed"].map((name) => items.map((item) => item[name]));
  const [all, bad] = [done, failed].map((values) => values.reduce((sum, value) => sum + value, 0));
  const tells = items.map((item) => `${time(item.at)}: ${number(item.succeeded)} finished, ${number(item.failed)} failed`);
  const series = [{ values: done, className: "good" }, { values: failed, className: "bad" }];
  return card("Jobs a minute", [["good", `${number(all)} finished`], ["bad", `${number(bad)} failed`]], chart({ series, kind: "bars", tells, ends: ENDS, label: `Jobs in the last hour: ${number(all)} finished, ${number(bad)} failed` }));
}

function timeCard(items) {
  const [median, p90] = ["median_seconds", "p90_seconds"].map((name) => items.map((item) => item[name]));
  const [middle, most] = [median, p90].map((values) => known(values).at(-1) ?? null);
  const tells = items.map((item) => `${time(item.at)}: median ${seconds(item.median_seconds)}, nine of ten within ${seconds(item.p90_seconds)}`);
  const series = [{ values: median, className: "first" }, { values: p90, className: "second" }];
  return card("Seconds until finished", [["first", `median ${seconds(middle)}`], ["second", `nine of ten ${seconds(most)}`]], chart({ series, kind: "lines", tells, ends: ENDS, label: `Time until a job is finished, lately: median ${seconds(middle)}, nine of ten within ${seconds(most)}` }));
}

// Draws the charts if they are older than half a minute.
export async function showHistory() {
  if (Date.now() - loadedAt < REFRESH_MS) return;
  loadedAt = Date.now();
  const { items } = await getJson("queues/history");
  $("#hour").replaceChildren(waitingCard(items), finishedCard(items), timeCard(items));
}
