// Cancels all jobs that wait, or those of one model and priority class, after a question. The service does it, also when
// the page is closed, and the page shows how far it is.
import { getJson, send, slowedFor } from "./api.js";
import { ask } from "./dialog.js";
import { $, el } from "./dom.js";
import { number, t, tn } from "./i18n.js";
import { attempt, toast } from "./toast.js";
import { PRIORITY } from "./words.js";

const LOOK_MS = 2000;
const note = $("#canceling");
let timer = null;

// `wanted` has the fields `model` and `priority`, or none of them; `title` is the question.
export async function cancelWaiting(wanted, title) {
  const text = t("What runs already goes on. Lines of bulks and messages of conversations that wait are canceled too.");
  if (!await ask(title, { text, yes: t("Cancel them"), no: t("Keep them") })) return;
  await attempt(async () => {
    const { canceled, more } = await send("POST", "jobs/cancel", { ...wanted, in_background: true });
    toast(more ? t("The service cancels them, also when you close this page.") : tn("%(n)s job canceled", "%(n)s jobs canceled", canceled));
  });
}

// Shows what the service is still canceling, until it has finished; then it calls `onEnd`.
export async function showCancellations(onEnd) {
  clearTimeout(timer);
  const { items } = await getJson("cancellations");
  const wasShown = !note.hidden;
  note.hidden = !items.length;
  note.replaceChildren(...items.map((each) => el("span", {}, wordsOf(each))));
  clearTimeout(timer); // of a call that was answered meanwhile
  if (items.length) timer = setTimeout(() => { if (!document.hidden) showCancellations(onEnd).catch(() => {}); }, Math.max(LOOK_MS, slowedFor()));
  else if (wasShown) {
    toast(t("Everything that was to be canceled is canceled."));
    onEnd();
  }
}

function wordsOf({ model, priority, canceled }) {
  const which = [model, PRIORITY[priority]].filter(Boolean).join(", ");
  const n = number(canceled);
  return which ? t("Canceling what waits of %(which)s: %(n)s so far.", { which, n }) : t("Canceling everything that waits: %(n)s so far.", { n });
}
