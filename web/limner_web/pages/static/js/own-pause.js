// Pausing and resuming one's own queue, above what waits.
import { getJson, send } from "./api.js";
import { ask, choice, field } from "./dialog.js";
import { $, button, el } from "./dom.js";
import { t } from "./i18n.js";
import { attempt, toast } from "./toast.js";
import { PAUSE_KEEPS, PAUSE_TIMES, pauseEnd, pauseWords } from "./words.js";

const area = $("#own-pause");
const note = $("#own-paused");
let shown = "";

export async function showOwnPause() {
  const view = await getJson("pause");
  if (JSON.stringify(view) === shown) return; // a button keeps its focus
  shown = JSON.stringify(view);
  const pauses = [view.own, view.operator].filter(Boolean);
  note.hidden = !pauses.length;
  note.replaceChildren(...pauses.map((each) => el("span", {}, `${pauseWords(each)}.`)));
  const hadFocus = area.contains(document.activeElement);
  area.replaceChildren(view.own ? button(t("Resume my queue"), resume, "small", "play") : button(t("Pause my queue …"), pause, "small quiet", "pause"));
  if (hadFocus) area.firstElementChild.focus();
}

async function pause() {
  const reason = el("input", { name: "reason", maxLength: 200, autocomplete: "off", autofocus: true });
  const answer = await ask(t("Pause your queue?"), { text: PAUSE_KEEPS, fields: [field(t("Reason, if you like"), reason), field(t("How long"), choice("seconds", PAUSE_TIMES))], yes: t("Pause it") });
  if (!answer) return;
  await attempt(async () => {
    const until = pauseEnd(answer.get("seconds"));
    const given = answer.get("reason").trim();
    await send("PUT", "pause", { ...(given && { reason: given }), ...(until && { until }) });
    toast(t("Your queue is paused"));
    await showOwnPause();
  });
}

const resume = () => attempt(async () => {
  const { operator } = await send("DELETE", "pause");
  toast(operator ? t("Your pause has ended; the operator's has not") : t("Your queue goes on"));
  await showOwnPause();
});
