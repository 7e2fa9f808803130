// The tenant's API keys: the list, new ones, rotation of this session's key, and revocation.
import { ApiError, call, getJson, make, send, whileReplacingKey } from "./api.js";
import { ask, choice, field, tell } from "./dialog.js";
import { $, button, el } from "./dom.js";
import { date, dateTime, t } from "./i18n.js";
import { attempt, toast } from "./toast.js";

const DAY_MS = 86_400_000;
const OVERLAPS = [[0, t("at once")], [3600, t("in an hour")], [86_400, t("in a day")], [604_800, t("in a week")]];
const area = $("#keys");
const form = $("#new-key form"); // not there on a service without keys, as the button of the rotation

// --- the list --------------------------------------------------------------------------------------------------------------

function stateOf(key) {
  if (key.revoked_at) return ["failed", t("revoked")];
  if (key.expires_at && new Date(key.expires_at) < new Date()) return ["", t("expired")];
  return key.replaced_by ? ["paused", t("replaced"), true] : ["ok", t("valid"), true];
}

function keyRow(key) {
  const [kind, words, isUsable] = stateOf(key);
  const name = key.label || t("unnamed");
  const revoke = isUsable && button(t("Revoke"), () => confirmRevoke(key), "small danger");
  if (revoke) revoke.setAttribute("aria-label", t("Revoke %(name)s", { name }));
  const badges = [el("span", { className: `badge ${kind}` }, words), key.current && el("span", { className: "badge running" }, t("this browser"))];
  const times = [key.expires_at ? t("Expires on %(date)s", { date: date(key.expires_at) }) : t("Never expires"), key.last_used_at ? t("Last used on %(date)s", { date: date(key.last_used_at) }) : t("Never used")];
  return el("li", { className: isUsable ? "row" : "row ended", id: `key-${key.id}` },
    el("div", {}, el("p", { className: "name" }, name, badges), el("p", { className: "about" }, el("code", {}, `lmn_${key.id}_…`), ` · ${key.scopes.join(", ")}`)),
    el("div", { className: "state" }, times.map((text) => el("p", { className: "number" }, text))),
    el("div", { className: "buttons" }, revoke));
}

export async function showKeys() {
  area.setAttribute("aria-busy", "false");
  try {
    const { items } = await getJson("keys?limit=100");
    area.replaceChildren(items.length ? el("ul", { className: "rows key-rows" }, items.map(keyRow)) : el("p", { className: "nothing" }, t("No keys yet. Make one with limner keys create.")));
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    if (form && error.status === 403) form.closest("details").hidden = true;
    const words = error.status === 403 ? t("Making, listing and revoking keys needs a key with the scope admin.") : error.message;
    area.replaceChildren(el("p", { className: "nothing" }, words));
  }
}

function confirmRevoke(key) {
  const text = key.current ? t("This browser uses it: you are signed out at once. This cannot be undone.") : t("Every program that uses it is refused at once. This cannot be undone.");
  return attempt(async () => {
    if (!await ask(t("Revoke “%(name)s”?", { name: key.label || key.id }), { text, yes: t("Revoke it"), no: t("Keep it") })) return;
    await send("DELETE", `keys/${key.id}`);
    toast(t("Key revoked"));
    await showKeys();
  });
}

// --- a new key ---------------------------------------------------------------------------------------------------------------

// Shows a secret, which cannot be shown again, with a button that copies it.
function tellSecret(title, about, secret) {
  const copy = navigator.clipboard && button(t("Copy"), () => attempt(async () => { await navigator.clipboard.writeText(secret); toast(t("Key copied")); }), "primary", "copy");
  const code = el("code", { className: "secret", tabIndex: 0, ariaLabel: t("Key") }, secret);
  const dialog = tell(title, el("p", { className: "quiet" }, about), code);
  if (copy) $(".buttons", dialog).prepend(copy);
}

async function create(event) {
  event.preventDefault();
  const wish = new FormData(form);
  const scopes = wish.getAll("scope");
  const problem = form.querySelector("[role=alert]");
  problem.hidden = scopes.length > 0;
  if (!scopes.length) { problem.textContent = t("Choose at least one scope."); return; }
  const days = Number(wish.get("days"));
  const body = { label: wish.get("label"), scopes, ...(days && { expires_at: new Date(Date.now() + days * DAY_MS).toISOString() }) };
  try {
    const made = await make("keys", JSON.stringify(body));
    const end = made.expires_at ? t("It works until %(time)s.", { time: dateTime(made.expires_at) }) : t("It works until it is revoked.");
    tellSecret(t("The key “%(name)s”", { name: made.label }), `${t("It is shown only now.")} ${end}`, made.key);
    form.reset();
    form.closest("details").open = false;
    await showKeys();
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    Object.assign(problem, { textContent: error.message, hidden: false });
  }
}

// --- rotation ----------------------------------------------------------------------------------------------------------------

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
  tellSecret(t("Your new key"), t("It is shown only now. This browser uses it already."), key);
  const fields = new URLSearchParams({ key, next: location.pathname, ...(stays && { stay: "1" }) });
  await call("/session", { method: "POST", body: fields, replaces: true });
}

const rotation = $("#rotate"); // disabled until this script runs
if (rotation) Object.assign(rotation, { onclick: rotate, disabled: false });
form?.addEventListener("submit", create);
