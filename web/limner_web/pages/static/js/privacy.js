// What is kept of the account's data, and for how long; the operator changes it here.
import { getJson, send } from "./api.js";
import { ask, field } from "./dialog.js";
import { $, button, el } from "./dom.js";
import { number, t, tn } from "./i18n.js";
import { attempt, toast } from "./toast.js";

const MOST_DAYS = 36_500;
const KEPT = [["keep_images_days", t("Pictures")], ["keep_prompts_days", t("Prompts and messages")], ["keep_jobs_days", t("Jobs")]];

const days = (value) => (value === null ? t("until you delete them") : tn("%(n)s day", "%(n)s days", value));
const row = (name, value) => [el("dt", {}, name), el("dd", {}, value)];

function show(settings) {
  const facts = el("dl", { className: "facts-list" }, KEPT.flatMap(([name, title]) => row(title, days(settings[name]))), row(t("Equal requests"), settings.share_results ? t("drawn once, and shared within this account") : t("each drawn for itself")));
  $("#kept").replaceChildren(facts, el("p", { className: "quiet" }, t("A shared link ends when its picture is deleted.")), ...(settings.changeable ? [el("div", { className: "buttons" }, button(t("Change …"), () => change(settings), "small"))] : []));
  $("#kept").setAttribute("aria-busy", "false");
}

async function change(settings) {
  const inputs = KEPT.map(([name, title]) => field(t("%(what)s: days", { what: title }), el("input", { name, type: "number", min: 1, max: MOST_DAYS, value: settings[name] ?? "", placeholder: t("no limit"), inputMode: "numeric" })));
  const share = el("label", { className: "check" }, el("input", { type: "checkbox", name: "share_results", checked: settings.share_results }), t("Draw equal requests only once"));
  const text = t("What is older than these days is deleted within minutes and cannot be brought back. An empty field keeps it.");
  const answer = await ask(t("Change what is kept"), { text, fields: [...inputs, share], yes: t("Change it") });
  if (!answer) return;
  const wanted = Object.fromEntries(KEPT.map(([name]) => [name, answer.get(name) === "" ? null : Number(answer.get(name))]));
  await attempt(async () => {
    show(await send("PUT", "privacy", { ...wanted, share_results: answer.has("share_results") }));
    toast(t("Changed"));
  });
}

export const showPrivacy = () => attempt(async () => show(await getJson("privacy")));
