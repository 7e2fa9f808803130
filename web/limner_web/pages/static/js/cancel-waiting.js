// Cancels all jobs that wait, or those of one model and priority class, after a question. The service does it, also when
// the page is closed, and the page shows how far it is.
import { getJson, send, slowedFor } from "./api.js";
import { ask } from "./dialog.js";
import { $, button, el } from "./dom.js";
import { number, t, tn } from "./i18n.js";
import { morph } from "./morph.js";
import { attempt, toast } from "./toast.js";
import { PRIORITY } from "./words.js";

const LOOK_MS = 2000;
const note = $("#canceling");
let timer = null;
let [shown, asked] = [[], 0]; // the ids of those that it shows

// `wanted` has the fields `model` and `priority`, or none of them; `title` is the question.
export async function cancelWaiting(wanted, title) {
  const text = t("What runs already goes on. Lines of bulks and messages of conversations that wait are canceled too.");
  if (!await ask(title, { text, yes: t("Cancel them"), no: t("Keep them") })) return;
  await attempt(async () => {
    const { canceled, more } = await send("POST", "jobs/cancel", { ...wanted, in_background: true });
    toast(more ? t("The service cancels them, also when you close this page.") : tn("%(n)s job canceled", "%(n)s jobs canceled", canceled));
  });
}

// Shows what the service is still canceling, with a button that stops it, and says how each ended; then it calls `onEnd`.
export async function showCancellations(onEnd) {
  clearTimeout(timer);
  const own = ++asked;
  const { items } = await getJson("cancellations");
  if (own !== asked) return; // a later answer is newer
  const ended = shown.filter((id) => items.every((each) => each.id !== id));
  shown = items.map(({ id }) => id);
  note.hidden = !items.length;
  morph(note, items.map((each) => row(each, onEnd)));
  if (items.length) timer = setTimeout(() => { if (!document.hidden) showCancellations(onEnd).catch(() => {}); }, Math.max(LOOK_MS, slowedFor()));
  if (!ended.length) return;
  for (const id of ended) say(await getJson(`cancellations/${id}`));
  onEnd();
}

function row(each, onEnd) {
  const stop = button(t("Stop"), () => attempt(() => stopOne(each.id, onEnd)), "small");
  return el("div", { id: each.id }, el("span", {}, wordsOf(each)), Object.assign(stop, { ariaLabel: t("Stop canceling") }));
}

async function stopOne(id, onEnd) {
  await send("POST", `cancellations/${id}/stop`);
  await showCancellations(onEnd);
}

function say({ status, canceled }) {
  if (status === "stopped") toast(tn("Stopped: %(n)s job was canceled, the others still wait.", "Stopped: %(n)s jobs were canceled, the others still wait.", canceled));
  else toast(tn("%(n)s job canceled", "%(n)s jobs canceled", canceled));
}

function wordsOf({ model, priority, canceled }) {
  const which = [model, PRIORITY[priority]].filter(Boolean).join(", ");
  const n = number(canceled);
  return which ? t("Canceling what waits of %(which)s: %(n)s so far.", { which, n }) : t("Canceling everything that waits: %(n)s so far.", { n });
}
