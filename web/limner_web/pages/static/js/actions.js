// What can be done with a job and its pictures, on every page that shows them.
import { call, getJson, make, pictureUrl, send } from "./api.js";
import { t } from "./i18n.js";
import { put } from "./jobs.js";
import { modelNamed } from "./model-list.js";
import { share } from "./share.js";
import { attempt, toast } from "./toast.js";
import { fileName, formatName } from "./words.js";

const VARIATIONS = 4;
const STRENGTH = 0.6;
const REDRAWN = 0.35; // the strength at which a larger picture keeps to the smaller one
const SAME_SHAPE = 0.02;
export const START = "started_from"; // in a job's metadata: the id of the picture that it started from
const KEPT = ["prompt", "negative_prompt", "model", "style", "width", "height", "steps", "guidance", "n", "scheduler", "guidance_rescale"];
const UNREAD = ["negative_prompt", "style", "width", "height", "n", "seed"]; // what a description decides, unless they are chosen beside it

// Whether a job ended before its description was read: its prompt and settings are not what it asked for.
export const isUnread = (job) => Boolean(job.description && !job.interpretation);

// The request that makes a job like this one, with a new random seed.
export function requestOf(job) {
  const request = Object.fromEntries(KEPT.map((name) => [name, job[name]]).filter(([, value]) => value !== null && value !== "" && value !== undefined));
  if (!request.guidance_rescale) delete request.guidance_rescale;
  if (job.candidates > 1) request.quality = "best";
  if (job.adapters?.length) request.adapters = job.adapters;
  if (isUnread(job)) {
    for (const name of ["prompt", ...UNREAD.filter((each) => !job.given.includes(each))]) delete request[name];
    request.description = job.description;
  }
  return { ...request, ...(job.image && startOf(job)), ...(job.mask && maskOf(job)), ...(job.control_image && controlOf(job)), ...(job.reference_images?.length && referencesOf(job)) };
}

// The request that makes the same job again: with its seed, unless that was only a guess until its description is read.
export const sameRequestOf = (job) => ({ ...requestOf(job), ...((!isUnread(job) || job.given.includes("seed")) && { seed: job.seed }) });

const referencesOf = ({ id, reference_images: given, reference_scale }) => ({ reference_images: given.map(() => id), reference_scale });

// What a job started from: the picture that was drawn, or, as the id of the job, the one that was sent.
const startOf = ({ id, mask, strength, metadata }) => (!mask && metadata?.[START] ? from(metadata[START], strength) : { image: id, strength });

const controlOf = ({ id, control_scale, control_start: start, control_end: end }) => ({ control_image: id, control_scale, ...(start > 0 && { control_start: start }), ...(end < 1 && { control_end: end }) });

const maskOf = ({ id, padding_mask_crop: padding }) => ({ mask: id, ...(Number.isInteger(padding) && { padding_mask_crop: padding }) });

const from = (id, strength) => ({ image: id, strength, metadata: { [START]: id } });

export const submit = async (request) => put(await make("jobs", JSON.stringify(request)));

// The fields of the message that asks for a job of a conversation once more.
export function messageOf(job) {
  const chosen = job.given.map((name) => [name, job[name]]);
  return { model: job.model, steps: job.steps, guidance: job.guidance, ...Object.fromEntries(chosen), ...(job.reference_images?.length && referencesOf(job)) };
}

// A message that was not read yet has its meaning after the messages before it, so it is sent again in its place.
async function sendAgain(job) {
  const path = `conversations/${job.conversation}`;
  const turn = (await getJson(path)).turns.find((each) => each.job?.id === job.id);
  return put((await make(`${path}/turns/${turn.id}`, JSON.stringify({ message: turn.message, ...messageOf(job) }), { method: "PUT" })).job);
}

const isUnreadMessage = (job) => isUnread(job) && job.conversation;

export const again = (job) => attempt(async () => (isUnreadMessage(job) ? sendAgain(job) : submit(requestOf(job))));

// Draws from the picture where the model can start from one; otherwise with other seeds and looser guidance.
export function vary(job, image = job.images[0]) {
  return attempt(async () => {
    const model = await modelNamed(job.model);
    const n = Math.min(VARIATIONS, model?.max_images ?? VARIATIONS);
    if (model?.tasks.includes("image-to-image")) return submit({ ...requestOf({ ...job, image: null, mask: null }), n, ...from(image.id, STRENGTH) });
    const least = model?.guidance.min ?? job.guidance;
    const guidance = Math.max(least, Math.round(job.guidance * 1.2) / 2);
    return submit({ ...requestOf(job), n, guidance, seed: (image.seed + 1) % 2 ** 32 });
  });
}

// The model's next larger size of the picture's shape; null where it has none, or could not keep the picture.
function largerSize(model, { width, height }) {
  if (!model?.same_at_every_size && !model?.tasks.includes("image-to-image")) return null;
  const sizes = model.sizes.map((size) => size.split("x").map(Number)).sort(([a], [b]) => a - b);
  return sizes.find(([wide, high]) => wide > width && Math.abs((wide * height) / (high * width) - 1) < SAME_SHAPE) ?? null;
}

// Draws a picture in a larger size: by its seed where the model draws the same then; otherwise from the picture.
function drawLarger(model, job, image, [width, height]) {
  return attempt(async () => {
    const isSame = model.same_at_every_size && !job.image;
    const wanted = { ...requestOf({ ...job, image: null, mask: null }), n: 1, width, height };
    const made = await submit({ ...wanted, ...(isSame ? { seed: image.seed } : from(image.id, Math.max(REDRAWN, 1 / job.steps))) });
    toast(isSame ? t("Drawing the same picture in the larger size.") : t("Drawing again from this picture, larger: its details may change."));
    return made;
  });
}

async function largerItem(job, image) {
  const model = await modelNamed(job.model).catch(() => null); // without it, the menu has its other entries
  const size = largerSize(model, image);
  return size && { group: "make", icon: "expand", text: t("Draw larger: %(size)s", { size: size.join(" × ") }), onClick: () => drawLarger(model, job, image, size) };
}

// A dead letter is retried as such, so that it is marked as done; another job is submitted again with its seed.
export function retry(job) {
  return attempt(async () => {
    if (job.error?.code === "worker_lost") {
      const { jobs: [id] } = await send("POST", "jobs/retry", { jobs: [job.id] });
      if (id) return put(await getJson(`jobs/${id}`));
    }
    return isUnreadMessage(job) ? sendAgain(job) : submit(sameRequestOf(job));
  });
}

export const cancel = (job) => attempt(async () => put(await send("POST", `jobs/${job.id}/cancel`)));

export function replay(job) {
  return attempt(async () => {
    const made = put(await make(`jobs/${job.id}/replay`));
    toast(t("Drawing the same picture again, byte for byte."));
    return made;
  });
}

export const copyText = (text) => attempt(async () => {
  await navigator.clipboard.writeText(text);
  toast(t("Copied"));
});

const copyPicture = (image) => attempt(async () => {
  const png = call(pictureUrl(image, "png")).then((answer) => answer.blob());
  await navigator.clipboard.write([new ClipboardItem({ "image/png": png })]);
  toast(t("Picture copied"));
});

// The menu of one picture, or of a job's first.
export async function menuOf(job, image, more = []) {
  const downloading = { group: "take", row: { icon: "download", text: t("Download") } };
  const copying = { group: "take", row: { icon: "copy", text: t("Copy") } };
  const downloads = image ? ["png", "webp", "jpeg"].map((format) => ({ ...downloading, short: formatName(format), text: t("Download %(format)s", { format: formatName(format) }), href: pictureUrl(image, format), download: fileName(job, image, format) })) : [];
  const canCopy = image && window.isSecureContext && navigator.clipboard;
  return [
    image && await largerItem(job, image),
    image && { group: "take", icon: "link", text: t("Share a link …"), onClick: () => share(image) },
    ...downloads,
    canCopy && { ...copying, short: t("Picture"), text: t("Copy picture"), onClick: () => copyPicture(image) },
    navigator.clipboard && { ...copying, short: t("Prompt"), text: t("Copy prompt"), onClick: () => copyText(job.prompt) },
    job.conversation && location.pathname !== "/conversation" && { group: "keep", icon: "talk", text: t("Go on in its conversation"), href: `/conversation#${job.conversation}` },
    ...more,
  ];
}
