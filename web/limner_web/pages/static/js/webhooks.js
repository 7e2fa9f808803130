// The tenant's webhooks: endpoints, what was sent to them, and sending it again.
import { ApiError, getJson, make, send } from "./api.js";
import { ask, field, tell } from "./dialog.js";
import { $, button, el } from "./dom.js";
import { dateTime, number, t, tn } from "./i18n.js";
import { attempt, toast } from "./toast.js";

const REFRESH_MS = 4000;
const SHOWN = 20;
const STATES = { delivered: "ok", failed: "failed", canceled: "", pending: "paused", sending: "running" };
const STATE_WORDS = { delivered: t("delivered"), failed: t("failed"), canceled: t("canceled"), pending: t("waiting"), sending: t("sending") };
const JOB_ENDS = ["job.succeeded", "job.failed", "job.canceled"];
const area = $("#webhooks");
let types = [];

export async function showWebhooks() {
  area.setAttribute("aria-busy", "false");
  try {
    const [endpoints, { items }, { items: failed }] = await Promise.all([getJson("webhook_endpoints?limit=100"), getJson(`webhook_deliveries?limit=${SHOWN}`), getJson("webhook_deliveries?state=failed&limit=1")]);
    if (!types.length) ({ data: types } = await getJson("webhook_event_types"));
    const names = new Map(endpoints.data.map(({ id, name }) => [id, name]));
    redraw([
      endpoints.data.length > 0 ? el("ul", { className: "rows" }, endpoints.data.map(endpointRow)) : el("p", { className: "nothing" }, t("No webhooks. Add one to be told when jobs end.")),
      el("div", { className: "buttons" }, button(t("Add a webhook …"), add, "", "plus"), failed.length > 0 && button(t("Send all failed again"), redeliverFailed, "", "again")),
      items.length > 0 && el("h3", {}, t("Last deliveries")),
      items.length > 0 && el("ul", { className: "rows" }, items.map((delivery) => deliveryRow(delivery, names))),
    ]);
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    const words = error.status === 403 ? t("Webhooks need a key with the scope admin.") : error.message;
    redraw([el("p", { className: "nothing" }, words)]);
    if (error.status === 403) clearInterval(timer);
  }
}

function redraw(parts) {
  const focused = area.contains(document.activeElement) ? document.activeElement.getAttribute("aria-label") || document.activeElement.textContent : null;
  area.replaceChildren(...parts.filter(Boolean));
  if (focused) [...area.querySelectorAll("button")].find((each) => (each.getAttribute("aria-label") || each.textContent) === focused)?.focus();
}

const named = (element, label) => { element.setAttribute("aria-label", label); return element; };

function endpointRow(endpoint) {
  const { id, name, url, event_types: kinds } = endpoint;
  return el("li", { className: "row", id },
    el("div", {}, el("p", { className: "name" }, name), el("p", { className: "about", title: url }, url)),
    el("div", { className: "state", title: kinds.join(", ") }, tn("%(n)s event type", "%(n)s event types", kinds.length)),
    el("div", { className: "buttons" }, named(button(t("Test"), () => test(endpoint), "small"), t("Test %(name)s", { name })), named(button(t("Delete"), () => remove(endpoint), "small danger"), t("Delete %(name)s", { name }))));
}

function deliveryRow(delivery, names) {
  const { id, type, state, attempts, endpoint, url, created_at: at } = delivery;
  const again = state !== "sending" && named(button(t("Send again"), () => redeliver(delivery), "small", "again"), t("Send %(type)s of %(time)s again", { type, time: dateTime(at, "medium") }));
  return el("li", { className: "row", id },
    el("div", {}, el("p", { className: "name" }, type), el("p", { className: "about" }, `${names.get(endpoint) || url} · ${dateTime(at)}`)),
    el("div", { className: "state" }, el("span", { className: `badge ${STATES[state]}` }, STATE_WORDS[state] ?? state), ` ${tn("%(n)s try", "%(n)s tries", attempts)}`),
    el("div", { className: "buttons" }, named(button(t("Log"), () => showLog(delivery), "small quiet"), t("Log of %(type)s", { type })), again));
}

async function add() {
  const boxes = types.map((type) => el("label", { className: "check" }, el("input", { type: "checkbox", name: "type", value: type, checked: JOB_ENDS.includes(type) }), type));
  const fields = [field(t("Name"), el("input", { name: "name", required: true, maxLength: 100, autocomplete: "off", autofocus: true })), field(t("Address"), el("input", { name: "url", type: "url", required: true, maxLength: 2048, placeholder: "https://", autocomplete: "off" })), el("fieldset", { className: "types" }, el("legend", { className: "quiet" }, t("Events")), boxes)];
  const answer = await ask(t("Add a webhook"), { fields, yes: t("Add") });
  if (!answer) return;
  await attempt(async () => {
    const made = await make("webhook_endpoints", JSON.stringify({ name: answer.get("name"), url: answer.get("url"), event_types: answer.getAll("type") }));
    tell(t("Keep its secret"), el("p", { className: "quiet" }, t("Each delivery is signed by it. It is shown only now.")), el("code", { className: "secret" }, made.signing_secret));
    await showWebhooks();
  });
}

async function remove({ id, name }) {
  if (!await ask(t("Delete “%(name)s”?", { name }), { text: t("What was not delivered to it yet is canceled."), yes: t("Delete it"), no: t("Keep it") })) return;
  await attempt(async () => { await send("DELETE", `webhook_endpoints/${id}`); toast(t("Webhook deleted")); await showWebhooks(); });
}

const test = ({ id, name, event_types: [type] }) => attempt(async () => {
  toast(t("Sending a test to %(name)s …", { name }), { seconds: 2 });
  const { status_code: status } = await send("POST", `webhook_endpoints/${id}/test`, { event_type: type });
  toast(t("%(name)s answered with %(status)s", { name, status }));
  await showWebhooks();
});

const redeliver = ({ id }) => attempt(async () => { await send("POST", `webhook_deliveries/${id}/redeliver`); toast(t("Sending it again")); await showWebhooks(); });

const redeliverFailed = () => attempt(async () => {
  let [sum, cursor] = [0, null];
  do {
    const { count, next } = await send("POST", "webhook_deliveries/redeliver", { since: new Date(0).toISOString(), ...(cursor && { cursor }) });
    [sum, cursor] = [sum + count, next];
  } while (cursor);
  toast(tn("%(n)s delivery sent again", "%(n)s deliveries sent again", sum));
  await showWebhooks();
});

const folded = (title, text) => el("details", {}, el("summary", {}, title), el("pre", { className: "sent" }, text));

const sentHeaders = (last) => last ? [`POST ${last.url}`, ...Object.entries(last.request_headers).map(([name, value]) => `${name}: ${value}`), ""] : [];

const showLog = ({ id, type }) => attempt(async () => {
  const { tries, body, subject } = await getJson(`webhook_deliveries/${id}`);
  const rows = tries.map(({ number: place, at, seconds, status, error_message: message }) => el("tr", {}, el("td", {}, String(place)), el("td", {}, dateTime(at, "medium")), el("td", {}, status === null ? message : String(status)), el("td", {}, t("%(n)s s", { n: number(seconds, { maximumFractionDigits: 2 }) }))));
  const head = el("thead", {}, el("tr", {}, [t("Try"), t("At"), t("Answer"), t("Took")].map((text) => el("th", {}, text))));
  const table = rows.length > 0 ? el("div", { className: "scroll" }, el("table", {}, head, el("tbody", {}, rows))) : el("p", { className: "quiet" }, t("It was not sent yet."));
  const answers = tries.filter(({ answer }) => answer).map(({ number: place, answer }) => folded(`${t("Answer")} ${place}`, answer));
  tell(type, subject && el("p", { className: "quiet" }, t("About %(subject)s", { subject })), table, body && folded(t("What is sent"), [...sentHeaders(tries.at(-1)), body].join("\n")), ...answers);
});

const timer = setInterval(() => { if (!document.hidden && !document.querySelector("dialog[open]")) showWebhooks(); }, REFRESH_MS);
