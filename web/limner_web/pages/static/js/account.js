// The account: what the tenant has used and may use, its keys, and the appearance of the pages.
import { ApiError, call, getJson, send, whileReplacingKey } from "./api.js";
import { chart } from "./chart.js";
import { ask, choice, field, tell } from "./dialog.js";
import { $, button, el } from "./dom.js";
import { date, number, t, tn } from "./i18n.js";
import { showPrivacy } from "./privacy.js";
import { attempt, toast } from "./toast.js";
import { showWebhooks } from "./webhooks.js";

const YEAR_SECONDS = 31_536_000;
const dateOrNever = (text) => (text ? date(text) : t("never"));

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
  return el("tr", {}, el("td", {}, title), el("td", {}, now === undefined ? "" : number(now)), el("td", {}, words, meter));
}

function showUsage({ days, accepted, queued, running, limits }) {
  const today = accepted[0].day;
  const now = { max_queued: queued, max_running: running, cost_per_day: days.length ? (days[0].day === today ? days[0].cost : 0) : undefined };
  const rows = LIMITS.map(([name, title]) => limitRow(title, now[name], limits[name]));
  const table = el("table", {}, el("thead", {}, el("tr", {}, el("th", {}, t("Limit")), el("th", {}, t("Now")), el("th", {}, t("Most")))), el("tbody", {}, rows));
  const charts = [figure(t("Jobs a day"), jobsOf(accepted)), days.length > 0 && figure(t("Cost units a day"), costs(days))];
  $("#usage").replaceChildren(...[table, ...charts, !days.length && el("p", { className: "quiet" }, t("Cost is counted for each day only where there is a daily limit."))].filter(Boolean));
  $("#usage").setAttribute("aria-busy", "false");
}

const figure = (title, image) => el("figure", {}, el("figcaption", {}, el("h3", {}, title)), image);
const dayName = (day) => new Date(`${day}T00:00Z`).toLocaleDateString(document.documentElement.lang, { day: "numeric", month: "short", timeZone: "UTC" });

function jobsOf(accepted) {
  const shown = [...accepted].reverse();
  const label = t("Jobs of the last %(days)s days: %(n)s, today %(today)s", { days: shown.length, n: number(shown.reduce((sum, { jobs }) => sum + jobs, 0)), today: number(accepted[0].jobs) });
  return chart({ series: [{ values: shown.map(({ jobs }) => jobs), className: "first" }], kind: "bars", tells: shown.map(({ day, jobs }) => `${dayName(day)}: ${number(jobs)}`), ends: [dayName(shown[0].day), dayName(shown.at(-1).day)], label });
}

// The days are listed with the newest first.
function costs(days) {
  const shown = [...days].reverse();
  return chart({ series: [{ values: shown.map(({ cost }) => cost), className: "first" }], kind: "bars", tells: shown.map(({ day, cost }) => `${day}: ${number(cost)}`), ends: [shown[0].day, shown.length > 1 ? shown.at(-1).day : ""], label: tn("Cost units of %(n)s day, at most %(most)s a day", "Cost units of %(n)s days, at most %(most)s a day", shown.length, { most: number(Math.max(...days.map(({ cost }) => cost))) }) });
}

// --- keys ------------------------------------------------------------------------------------------------------------------

function stateOf(key) {
  if (key.revoked_at) return ["failed", t("revoked")];
  if (key.expires_at && new Date(key.expires_at) < new Date()) return ["", t("expired")];
  return key.replaced_by ? ["paused", t("replaced"), true] : ["ok", t("valid"), true];
}

function keyRow(key) {
  const [kind, words, isUsable] = stateOf(key);
  const revoke = isUsable && button(t("Revoke"), () => confirmRevoke(key), "small danger");
  return el("tr", {}, el("td", {}, key.label || t("unnamed")), el("td", {}, el("code", {}, `lmn_${key.id}_…`)), el("td", {}, key.scopes.join(", ")), el("td", {}, date(key.created_at)), el("td", {}, dateOrNever(key.expires_at)), el("td", {}, dateOrNever(key.last_used_at)), el("td", {}, el("span", { className: `badge ${kind}` }, words)), el("td", {}, revoke));
}

async function showKeys() {
  const area = $("#keys");
  area.setAttribute("aria-busy", "false");
  try {
    const { items } = await getJson("keys?limit=100");
    const head = [t("Label"), t("Key"), t("Scopes"), t("Made"), t("Expires"), t("Last used"), t("State"), ""].map((text) => el("th", {}, text));
    const table = el("div", { className: "panel scroll" }, el("table", {}, el("thead", {}, el("tr", {}, head)), el("tbody", {}, items.map(keyRow))));
    area.replaceChildren(items.length ? table : el("p", { className: "nothing" }, t("No keys yet. Make one with limner keys create.")));
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    const words = error.status === 403 ? t("Listing and revoking keys needs a key with the scope admin.") : error.message;
    area.replaceChildren(el("p", { className: "nothing" }, words));
  }
}

function confirmRevoke(key) {
  const text = t("Every program that uses it is refused at once. This cannot be undone.");
  return attempt(async () => {
    if (!await ask(t("Revoke “%(name)s”?", { name: key.label || key.id }), { text, yes: t("Revoke it"), no: t("Keep it") })) return;
    await send("DELETE", `keys/${key.id}`);
    toast(t("Key revoked"));
    await showKeys();
  });
}

const OVERLAPS = [[0, t("at once")], [3600, t("in an hour")], [86_400, t("in a day")], [604_800, t("in a week")]];

// Replaces the key of this session. The browser signs in with the new one, so that the session goes on.
async function rotate() {
  const fields = [field(t("The old key stops working"), choice("overlap", OVERLAPS, 3600)), el("label", { className: "check" }, el("input", { type: "checkbox", name: "stay" }), t("Stay signed in on this device for 30 days"))];
  const answer = await ask(t("Rotate this key?"), { text: t("You get a new key with the same rights. Give it to the programs that use the old one."), fields, yes: t("Rotate it") });
  if (!answer) return;
  await attempt(async () => {
    await whileReplacingKey(() => replaceKey(Number(answer.get("overlap")), answer.has("stay")));
    await showKeys();
  });
}

async function replaceKey(overlapSeconds, stays) {
  const body = JSON.stringify({ overlap_seconds: overlapSeconds });
  const rotated = await call("keys/rotate", { method: "POST", headers: { "Content-Type": "application/json" }, body, replaces: true });
  const { key } = await rotated.json();
  tell(t("Your new key"), el("p", { className: "quiet" }, t("It is shown only now. This browser uses it already.")), el("code", { className: "secret" }, key));
  const form = new URLSearchParams({ key, next: location.pathname, ...(stays && { stay: "1" }) });
  await call("/session", { method: "POST", body: form, replaces: true });
}

const rotation = $("#rotate"); // disabled until this script runs; not there on a service without keys
if (rotation) Object.assign(rotation, { onclick: rotate, disabled: false });
showWebhooks();
showPrivacy();
attempt(async () => showUsage(await getJson("usage")));
showKeys();
