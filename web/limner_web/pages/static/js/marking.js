// Marks and boards of several pictures {job, image} at once. What is put on a board or taken off it can be taken back.
import { t, tn } from "./i18n.js";
import { addTag, askForTag, forEach, isLoved, love, removeTag, unlove } from "./organise.js";
import { attempt, toast } from "./toast.js";

// The pictures of one job change together.
const takeAway = (pictures, work) => forEach([...Map.groupBy(pictures, ({ job }) => job.id).values()], (members) => work(members[0].job, members.map(({ image }) => image)));
const takeTag = (pictures, tag) => takeAway(pictures, (job, images) => removeTag(job, images, tag));
const giveTag = (pictures, tag) => forEach(pictures, ({ image }) => addTag(image, tag));

const undoing = (work, onChange) => ({ action: t("Undo"), onAction: () => attempt(async () => { await work(); onChange(); }) });

// Puts pictures on the board of a tag; without one, it is asked for.
export async function putOn(pictures, wanted, onChange) {
  const tag = wanted ?? await askForTag();
  if (!tag) return;
  const added = pictures.filter(({ job, image }) => ![...job.tags, ...image.tags].includes(tag));
  await giveTag(added, tag);
  toast(tn("%(n)s picture on the board “%(tag)s”", "%(n)s pictures on the board “%(tag)s”", pictures.length, { tag }), added.length ? undoing(() => takeTag(added, tag), onChange) : {});
  onChange();
}

export async function takeOff(pictures, tag, onChange) {
  await takeTag(pictures, tag);
  toast(tn("%(n)s picture taken off the board “%(tag)s”", "%(n)s pictures taken off the board “%(tag)s”", pictures.length, { tag }), undoing(() => giveTag(pictures, tag), onChange));
  onChange();
}

// Makes all favourites, or takes the mark away where all are.
export async function toggleLove(pictures) {
  const others = pictures.filter(({ job, image }) => !isLoved(job, image));
  if (others.length) await forEach(others, ({ image }) => love(image));
  else await takeAway(pictures, unlove);
}
