// A job's tile: a square with its pictures, its preview or its state, a caption and the actions.
import { again, cancel, menuOf, retry, vary } from "./actions.js";
import { call, getJson, thumbnailUrl } from "./api.js";
import { $, copyOf, el } from "./dom.js";
import { makeDraggable } from "./drag.js";
import { reasonOf, why } from "./explanation.js";
import { t } from "./i18n.js";
import { openMenu } from "./menu.js";
import { isLoved } from "./organise.js";
import { labelOf, shortcomings, tellShortcomings } from "./shortcomings.js";
import { duration, ended, enlargeLabel, facts, factsOf, status } from "./words.js";

const PREVIEW_MS = 900;
const EXPLAIN_MS = 6000;
const MOST_SHOWN = 9;

// `onRemix(job)`, `onEnlarge(job, index)` and `organise(job)`, which gives further entries of the menu, belong to the
// page.
export function makeTile({ onRemix, onEnlarge, organise }) {
  const element = copyOf("tile");
  const tile = { element, job: null, onEnlarge, previewedAt: 0, explainedAt: 0, explanation: "" };
  const on = (name, run) => { $(name, element).addEventListener("click", (event) => run(tile.job, event.currentTarget)); };
  // The actions for which a narrow tile has no room.
  const folded = (job) => [
    job.images.length > 0 && { group: "make", name: ".vary", icon: "vary", text: t("Vary: four pictures near this one"), onClick: () => vary(job) },
    { group: "make", name: ".remix", icon: "remix", text: t("Remix: load these settings"), onClick: () => onRemix(job) },
  ].filter((each) => each && !$(each.name, element).checkVisibility());
  on(".cancel", cancel);
  on(".why", why);
  on(".retry", retry);
  on(".short", (job) => tellShortcomings(job, { text: t("Reword it"), run: onRemix }));
  on(".again", again);
  on(".vary", (job) => vary(job));
  on(".remix", onRemix);
  on(".more", async (job, at) => openMenu(at, [...folded(job), ...await menuOf(job, job.images[0], ended(job) ? organise(job) : [])]));
  return tile;
}

export function paint(tile, job) {
  const { element } = tile;
  const isNew = tile.job?.status !== job.status || tile.job.images.length !== job.images.length;
  tile.job = job;
  element.id = job.id;
  element.dataset.state = job.status === "succeeded" && !job.images.length ? "gone" : job.status;
  $(".loved", element).hidden = !isLoved(job);
  $(".prompt", element).textContent = job.prompt;
  $(".prompt", element).title = job.prompt;
  $(".facts", element).title = facts(job);
  $(".facts", element).replaceChildren(...factsOf(job).map((fact) => el("span", {}, fact)));
  const { said, detail } = status(job);
  $(".said", element).textContent = said;
  $(".detail", element).textContent = (job.status === "queued" && !job.paused && tile.explanation) || detail;
  $("progress", element).hidden = job.status !== "running" || !job.progress;
  if (job.progress) $("progress", element).value = job.progress.done / job.progress.total;
  $(".short", element).hidden = !job.images.some((image) => shortcomings(job, image).length);
  $(".short b", element).textContent = labelOf(job);
  if (!isNew) return;
  const hasPicture = job.images.length > 0;
  $(".cancel", element).hidden = ended(job);
  $(".why", element).hidden = job.status !== "queued";
  $(".retry", element).hidden = job.status !== "failed" && job.status !== "canceled";
  $(".vary", element).hidden = !hasPicture;
  $(".again", element).hidden = !ended(job);
  if (ended(job)) removePreview(tile);
  if (hasPicture) showPictures(tile);
}

// 2×2 up to four pictures, 3×3 up to nine; the last one says how many more there are.
function showPictures({ element, job, onEnlarge }) {
  const { images } = job;
  const side = images.length === 1 ? 1 : images.length <= 4 ? 2 : 3;
  const shown = images.slice(0, MOST_SHOWN);
  const mosaic = $(".mosaic", element);
  mosaic.dataset.side = side;
  mosaic.replaceChildren(...shown.map((image, index) => {
    const img = el("img", { alt: image.alt_text || job.prompt, loading: "lazy", decoding: "async", src: thumbnailUrl(image, side === 1 ? 512 : 256) });
    const rest = index === MOST_SHOWN - 1 ? images.length - MOST_SHOWN : 0;
    const label = rest ? t("Enlarge: %(prompt)s, seed %(seed)s, and %(rest)s more", { prompt: job.prompt, seed: image.seed, rest }) : enlargeLabel(job, image);
    const button = el("button", { type: "button", ariaLabel: label, onclick: () => onEnlarge(job, index) }, img, rest > 0 && el("span", { className: "rest" }, `+${rest}`));
    makeDraggable(button, () => [image]);
    return button;
  }));
}

function removePreview({ element }) {
  const preview = $(".preview", element);
  if (!preview) return;
  URL.revokeObjectURL(preview.src);
  preview.remove();
  delete element.dataset.preview;
}

const isInView = (element) => { const { top, bottom } = element.getBoundingClientRect(); return !document.hidden && bottom >= 0 && top <= innerHeight; };

// What a tile in view would ask the service for now: {at, when it asked last, and run}.
export function looksOf(tile) {
  const { element, job, previewedAt, explainedAt } = tile;
  const looks = {
    running: { at: previewedAt, least: PREVIEW_MS, run: () => showPreview(tile) },
    queued: { at: explainedAt, least: EXPLAIN_MS, run: () => explain(tile) },
  }[job.status];
  return looks && Date.now() - looks.at >= looks.least && isInView(element) ? [looks] : [];
}

// Says why a job waits, and for how long.
async function explain(tile) {
  const { job } = tile;
  tile.explainedAt = Date.now();
  const told = await getJson(`jobs/${job.id}/explain`);
  tile.explanation = told.eta ? t("Ready in %(time)s.", { time: duration(told.eta.median_seconds) }) : reasonOf(job, told);
  if (tile.job.status === "queued") paint(tile, tile.job);
}

// Shows what the picture looks like so far. The worker makes previews only on request, about once a second.
async function showPreview(tile) {
  const { element, job } = tile;
  tile.previewedAt = Date.now();
  const answer = await call(`jobs/${job.id}/preview`);
  if (answer.status !== 200) return;
  const url = URL.createObjectURL(await answer.blob());
  if (ended(tile.job)) { URL.revokeObjectURL(url); return; }
  let img = $(".preview", element);
  if (!img) {
    img = el("img", { className: "preview", alt: "" });
    $(".square", element).prepend(img);
    element.dataset.preview = "";
  }
  URL.revokeObjectURL(img.src);
  img.src = url;
}
