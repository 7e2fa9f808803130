// The account: what the tenant has used and may use, and the appearance of the pages.
import { getJson } from "./api.js";
import { chart, sinceFirst } from "./chart.js";
import { $, el } from "./dom.js";
import { number, t } from "./i18n.js";
import { showKeys } from "./keys.js";
import { modelNamed } from "./model-list.js";
import { showPrivacy } from "./privacy.js";
import { attempt } from "./toast.js";
import { showWebhooks } from "./webhooks.js";

const YEAR_SECONDS = 31_536_000;
const LEAST_DAYS = 7; // in a chart
const MANY_JOBS = 10_000; // of a day; the service counts no further

// --- appearance ------------------------------------------------------------------------------------------------------------

$("#themes").addEventListener("change", ({ target }) => {
  document.cookie = `theme=${target.value}; path=/; SameSite=Lax; max-age=${target.value ? YEAR_SECONDS : 0}`;
  if (target.value) document.documentElement.dataset.theme = target.value;
  else delete document.documentElement.dataset.theme;
});

// --- usage -----------------------------------------------------------------------------------------------------------------

const LIMITS = [["requests_per_minute", t("Requests a minute")], ["max_queued", t("Queued jobs")], ["max_running", t("Running jobs")], ["cost_per_day", t("Cost units a day")]];

function limitRow(title, now, most) {
  const words = most === null ? t("no limit") : t("of %(n)s", { n: number(most) });
  const meter = now !== undefined && most !== null && el("progress", { value: Math.min(now, most), max: most, ariaLabel: title });
  return el("tr", {}, el("td", {}, title), el("td", {}, now === undefined ? "–" : number(now)), el("td", {}, words, meter));
}

// What cost units are worth: the price of one picture of the default model, and how many more fit into this day.
async function priceNote(left) {
  const { title, default_cost: cost } = await modelNamed();
  const price = t("One picture of %(model)s with the default settings costs %(n)s cost units.", { model: title, n: number(cost) });
  const room = t("There is room for %(n)s more today.", { n: number(Math.max(0, Math.floor(left / cost))) });
  return el("p", { className: "quiet" }, `${price} ${room}`);
}

async function showUsage({ days, accepted, queued, running, limits }) {
  const today = accepted[0].day;
  const now = { max_queued: queued, max_running: running, cost_per_day: days.length ? (days[0].day === today ? days[0].cost : 0) : undefined };
  const rows = LIMITS.map(([name, title]) => limitRow(title, now[name], limits[name]));
  const table = el("table", {}, el("thead", {}, el("tr", {}, el("th", {}, t("Limit")), el("th", {}, t("Now")), el("th", {}, t("Most")))), el("tbody", {}, rows));
  const shown = shownDays(accepted, days);
  const charts = [figure(t("Jobs a day"), jobsOf(shown)), days.length > 0 && figure(t("Cost units a day"), costsOf(shown))];
  const price = limits.cost_per_day !== null && await priceNote(limits.cost_per_day - (now.cost_per_day ?? 0));
  $("#usage").replaceChildren(...[table, price, ...charts, !days.length && el("p", { className: "quiet" }, t("Cost is counted for each day only where there is a daily limit."))].filter(Boolean));
  $("#usage").setAttribute("aria-busy", "false");
}

const figure = (title, image) => el("figure", {}, el("figcaption", {}, el("h3", {}, title)), image);
const dayName = (day) => new Date(`${day}T00:00Z`).toLocaleDateString(document.documentElement.lang, { day: "numeric", month: "short", timeZone: "UTC" });

const endsOf = (shown) => [dayName(shown[0].day), dayName(shown.at(-1).day)];

// The days of both charts, from the oldest; the service lists the newest first.
function shownDays(accepted, days) {
  const costs = new Map(days.map(({ day, cost }) => [day, cost]));
  const all = accepted.map(({ day, jobs }) => ({ day, jobs, cost: costs.get(day) ?? 0 })).reverse();
  return sinceFirst(all, ({ jobs, cost }) => jobs + cost > 0, LEAST_DAYS);
}

function jobsOf(shown) {
  const atLeast = (jobs) => `${number(jobs)}${jobs >= MANY_JOBS ? "+" : ""}`;
  const total = shown.reduce((sum, { jobs }) => sum + jobs, 0);
  const isCut = shown.some(({ jobs }) => jobs >= MANY_JOBS);
  const label = t("Jobs of the last %(days)s days: %(n)s, today %(today)s", { days: shown.length, n: `${number(total)}${isCut ? "+" : ""}`, today: atLeast(shown.at(-1).jobs) });
  return chart({ series: [{ values: shown.map(({ jobs }) => jobs), className: "first" }], kind: "bars", tells: shown.map(({ day, jobs }) => `${dayName(day)}: ${atLeast(jobs)}`), ends: endsOf(shown), label });
}

function costsOf(shown) {
  const most = number(Math.max(...shown.map(({ cost }) => cost)));
  const label = t("Cost units of the last %(days)s days, at most %(most)s a day", { days: shown.length, most });
  return chart({ series: [{ values: shown.map(({ cost }) => cost), className: "first" }], kind: "bars", tells: shown.map(({ day, cost }) => `${dayName(day)}: ${number(cost)}`), ends: endsOf(shown), label });
}

showWebhooks();
showPrivacy();
attempt(async () => showUsage(await getJson("usage")));
showKeys();
