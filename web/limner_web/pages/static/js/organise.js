// Favourites, tags and deletion, of a picture or of a whole job.
import { call, send } from "./api.js";
import { ask, field } from "./dialog.js";
import { el } from "./dom.js";
import { t, tn } from "./i18n.js";
import { attempt, toast } from "./toast.js";

const MOST_AT_ONCE = 8;
const leaving = new Set(); // deletions that can still be undone

const pathOf = (target) => `${target.images ? "jobs" : "images"}/${target.id}`;

// A mark is a tag, or that of favourites. The own mark of a job is one of all its pictures.
const FAVOURITE = { path: "favourite", isOn: ({ favourite }) => favourite, set: (target, on) => { target.favourite = on; } };
const tagged = (tag) => ({
  path: `tags/${encodeURIComponent(tag)}`,
  isOn: ({ tags }) => tags.includes(tag),
  set: (target, on) => { target.tags = [...target.tags.filter((each) => each !== tag), ...(on ? [tag] : [])].sort(); },
});

async function put(mark, target, on) {
  await send(on ? "PUT" : "DELETE", `${pathOf(target)}/${mark.path}`);
  mark.set(target, on);
}

// Takes a mark from pictures of one job, whichever of the two has it: the others keep what was the job's.
async function takeFrom(mark, job, images) {
  if (mark.isOn(job)) {
    const losing = new Set(images.map(({ id }) => id));
    await forEach(job.images.filter((each) => !losing.has(each.id) && !mark.isOn(each)), (each) => put(mark, each, true));
    await put(mark, job, false);
  }
  await forEach(images.filter(mark.isOn), (each) => put(mark, each, false));
}

// Whether one picture, or without one any of the job, is a favourite.
export const isLoved = (job, image = null) => job.favourite || (image ? [image] : job.images).some(FAVOURITE.isOn);

export const love = (target) => put(FAVOURITE, target, true);
export const unlove = (job, images) => takeFrom(FAVOURITE, job, images);
export const addTag = (target, tag) => put(tagged(tag), target, true);
export const removeTag = (job, images, tag) => takeFrom(tagged(tag), job, images);

// Asks for a tag; resolves to it, or to null.
export async function askForTag() {
  const input = el("input", { name: "tag", required: true, maxLength: 50, autocomplete: "off", autofocus: true });
  input.setAttribute("list", "tags"); // where the page knows them
  const answer = await ask(t("Add a tag"), { fields: [field(t("Tag"), input)], yes: t("Add") });
  return answer?.get("tag").trim() || null;
}

// Runs `work` for each item, a few at a time.
export async function forEach(items, work) {
  const rest = [...items];
  await Promise.all(Array.from({ length: MOST_AT_ONCE }, async () => { while (rest.length) await work(rest.shift()); }));
}

// Deletes after a few seconds in which the user can take it back. `hide(targets)` and `show(targets)` change the page:
// those that could not be deleted are shown again. `onGone(targets)` is called for those that are deleted.
export function deleteLater(targets, { hide, show, onGone = () => {} }) {
  hide(targets);
  const remove = (target, options) => call(pathOf(target), { method: "DELETE", ...options });
  const flush = () => { for (const target of targets) remove(target, { keepalive: true }).catch(() => {}); };
  const end = async () => {
    leaving.delete(flush);
    const failures = new Map(); // target -> error
    await forEach(targets, (target) => remove(target).catch((error) => { if (error.status !== 404) failures.set(target, error); }));
    onGone(targets.filter((target) => !failures.has(target)));
    if (!failures.size) return;
    show([...failures.keys()]);
    toast([...failures.values()][0].message, { bad: true });
  };
  leaving.add(flush);
  const undo = () => { leaving.delete(flush); show(targets); };
  toast(targets.length === 1 ? t("Deleted") : tn("%(n)s picture deleted", "%(n)s pictures deleted", targets.length), { action: t("Undo"), onAction: undo, onEnd: end });
}

addEventListener("pagehide", () => { for (const flush of leaving) flush(); });

// The menu's entries for one picture of a job; without one, and for its only one, for the whole job. `onChange` shows its
// new favourite mark or tags.
export function organiseMenu(job, image, { onChange, ...page }) {
  const target = image && job.images.length > 1 ? image : job;
  const images = image ? [image] : job.images;
  const tag = () => attempt(async () => {
    const name = await askForTag();
    if (!name) return;
    await addTag(target, name);
    toast(t("Tagged “%(tag)s”", { tag: name }));
    onChange();
  });
  const isOn = isLoved(job, image);
  return [
    { group: "keep", icon: "heart", text: isOn ? t("Remove from favourites") : t("Add to favourites"), onClick: () => attempt(async () => { await (isOn ? unlove(job, images) : love(target)); onChange(); }) },
    { group: "keep", icon: "tag", text: t("Add a tag …"), onClick: tag },
    { group: "end", icon: "trash", text: t("Delete"), danger: true, onClick: () => deleteLater([target], page) },
  ];
}
