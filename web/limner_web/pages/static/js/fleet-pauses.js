// The operator's pauses: the list of all, and the questions before a model or a tenant is paused, or a worker drained.
import { send } from "./api.js";
import { ask, choice, field } from "./dialog.js";
import { button, el } from "./dom.js";
import { dateTime, t } from "./i18n.js";
import { attempt, toast } from "./toast.js";
import { PAUSE_KEEPS, PAUSE_TIMES, pauseEnd } from "./words.js";

const MOST_CHARS = 200; // of a reason

const reasonInput = (options) => el("input", { name: "reason", maxLength: MOST_CHARS, autocomplete: "off", ...options });
const forThoseWho = (options) => field(t("Reason, shown to those who wait"), reasonInput(options));
const howLong = () => field(t("How long"), choice("seconds", PAUSE_TIMES));
const reasonOf = (answer) => answer.get("reason").trim() || null;

// These resolve to true once the service has done it.
const make = (what, done) => attempt(async () => {
  await send("POST", "pauses", what);
  toast(done);
  return true;
});

export async function pauseModel({ model, title }) {
  const fields = [forThoseWho({ placeholder: t("new weights"), autofocus: true }), howLong()];
  const answer = await ask(t("Pause %(name)s?", { name: title }), { text: PAUSE_KEEPS, fields, yes: t("Pause it") });
  return answer && make({ model, reason: reasonOf(answer), until: pauseEnd(answer.get("seconds")) }, t("%(name)s is paused", { name: title }));
}

// Without a `name` it asks for one too, and suggests `names`.
export async function pauseTenant(names, name = null) {
  const fields = [...(name ? [] : tenantField(names)), forThoseWho({ autofocus: Boolean(name) }), howLong()];
  const answer = await ask(name ? t("Pause %(name)s?", { name }) : t("Pause a tenant"), { text: PAUSE_KEEPS, fields, yes: t("Pause it") });
  if (!answer) return null;
  const tenant = name ?? answer.get("tenant").trim();
  return make({ tenant, reason: reasonOf(answer), until: pauseEnd(answer.get("seconds")) }, t("%(name)s is paused", { name: tenant }));
}

function tenantField(names) {
  const input = el("input", { name: "tenant", required: true, maxLength: 100, autocomplete: "off", autofocus: true });
  input.setAttribute("list", "tenant-names");
  return [field(t("Name of the tenant"), input), el("datalist", { id: "tenant-names" }, names.map((each) => new Option(each, each)))];
}

// `isLast` says that no other worker takes jobs.
export async function drain({ id }, isLast) {
  const text = [t("It takes no new jobs, and hands back those that it cannot finish soon. Then it can be stopped, or take jobs again."), isLast && t("No other worker takes jobs: they wait meanwhile.")].filter(Boolean).join(" ");
  const answer = await ask(t("Drain %(name)s?", { name: id }), { text, fields: [field(t("Reason, if you like"), reasonInput({ autofocus: true }))], yes: t("Drain it") });
  return answer && make({ worker: id, reason: reasonOf(answer) }, t("%(name)s takes no new jobs", { name: id }));
}

export const resume = (pauseId, name) => attempt(async () => {
  await send("DELETE", `pauses/${pauseId}`);
  toast(t("%(name)s goes on", { name }));
  return true;
});

export function resumeButton(pauseId, name, onDone) {
  const act = button(t("Resume"), async () => { if (await resume(pauseId, name)) await onDone(); }, "small", "play");
  act.dataset.pause = pauseId;
  act.ariaLabel = t("Resume %(name)s", { name });
  return act;
}

function kindOf({ model, worker, own }) {
  if (model) return t("A model whose jobs wait");
  if (worker) return t("A worker that takes no new jobs");
  return own ? t("A tenant that paused itself") : t("A tenant whose jobs wait");
}

// `titles` are those of the models, by their names.
export function pauseRow(pause, titles, onDone) {
  const { id, tenant, worker, model, reason, until, paused_at: since } = pause;
  const name = tenant ?? worker ?? titles.get(model) ?? model;
  const about = [kindOf(pause), t("since %(time)s", { time: dateTime(since) })].join(" · ");
  const state = [reason, until && t("until %(time)s", { time: dateTime(until) })].filter(Boolean).join(", ");
  return el("li", { className: "row", id },
    el("div", {}, el("p", { className: "name", title: name }, name), el("p", { className: "about" }, about)),
    el("div", { className: "state" }, state), el("div", { className: "buttons" }, resumeButton(id, name, onDone)));
}
