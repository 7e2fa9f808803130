// Cancels all jobs that wait, or those of one model and priority class, after a question.
import { patiently, send } from "./api.js";
import { ask } from "./dialog.js";
import { t, tn } from "./i18n.js";
import { attempt, toast } from "./toast.js";

// One request cancels a part of very many.
async function cancelParts(wanted) {
  let canceled = 0;
  for (;;) {
    const part = await patiently(() => send("POST", "jobs/cancel", wanted));
    canceled += part.canceled;
    if (!part.more || !part.canceled) return canceled;
  }
}

// `wanted` has the fields `model` and `priority`, or none of them; `title` is the question.
export async function cancelWaiting(wanted, title) {
  const text = t("What runs already goes on. Lines of bulks and messages of conversations that wait are canceled too.");
  if (!await ask(title, { text, yes: t("Cancel them"), no: t("Keep them") })) return;
  await attempt(async () => {
    const canceled = await cancelParts(wanted);
    toast(tn("%(n)s job canceled", "%(n)s jobs canceled", canceled));
  });
}
