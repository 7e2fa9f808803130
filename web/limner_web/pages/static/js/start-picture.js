// The picture that the studio starts from: chosen, dropped, pasted or one that was drawn, with its strength and mask.
import { START } from "./actions.js";
import { inputUrl, pictureUrl } from "./api.js";
import { $, $$ } from "./dom.js";
import { extended } from "./extend.js";
import { form, modelChosen, models, chooseModel } from "./form.js";
import { number, t } from "./i18n.js";
import { forgetMask, maskAround, paintMask, showOver } from "./mask.js";
import { can as isAbleTo } from "./model-choices.js";
import { acceptChosen, acceptPicture, readPicture } from "./picture-file.js";
import { attempt, toast } from "./toast.js";

let picture = null; // {image: id or data URL, url, id}
let mask = null; // {mask: a data URL or the id of a job, url}

const can = (task) => isAbleTo(modelChosen(), task);
const canStart = (model) => model.tasks.some((task) => task !== "text-to-image");

const takesOther = ({ control, reference }) => Boolean(control || reference);

export const anyCanStart = () => Object.values(models).some(canStart);

// What the form's request takes from here.
export function startFields() {
  if (!picture || !canStart(modelChosen())) return {};
  return {
    image: picture.image, strength: Number(form.elements.strength.value),
    ...(mask && can("inpainting") && { mask: mask.mask, ...cropFields() }), ...(picture.id && !mask && { metadata: { [START]: picture.id } }),
  };
}

const cropFields = () => (form.elements.crop.checked && modelChosen().mask_crops ? { padding_mask_crop: Number(form.elements.padding.value) } : {});

// Setting the same source again would load it again, at every key that is typed.
const setSource = (image, url) => { if (image.getAttribute("src") !== url) image.src = url; };

function show() {
  const isAble = canStart(modelChosen());
  const isOnly = !can("image-to-image");
  $(".start", form).hidden = !isAble;
  $("[data-no-start]", form).hidden = isAble || takesOther(modelChosen());
  $(".start .drop", form).hidden = Boolean(picture);
  $(".started", form).hidden = !picture;
  $("[data-paint]", form).hidden = !can("inpainting");
  $("[data-paint] span", form).textContent = mask ? t("Change the mask") : t("Paint a mask");
  $("[data-extend]", form).hidden = Boolean(mask) || !can("inpainting");
  $("[data-unpaint]", form).hidden = !mask || !can("inpainting");
  $("[data-about-mask]", form).textContent = !can("inpainting") ? t("This model changes the whole picture; it cannot fill a mask.") : mask ? t("Only what is painted is drawn again.") : isOnly ? t("This model fills a mask: paint where the picture may change.") : t("Without a mask the whole picture may change.");
  showOver($(".started .masked", form), can("inpainting") ? mask?.url : null);
  if (picture) setSource($(".started .picture", form), picture.url);
  $(".cropped", form).hidden = !mask || !modelChosen().mask_crops;
  $("[data-padding]", form).hidden = !form.elements.crop.checked;
  form.elements.padding_shown.value = t("%(n)s pixels", { n: number(Number(form.elements.padding.value)) });
  form.elements.strength_shown.value = number(Number(form.elements.strength.value), { minimumFractionDigits: 2 });
}

function set(next) {
  if (picture?.url.startsWith("blob:")) URL.revokeObjectURL(picture.url);
  [picture, mask] = [next, null];
  forgetMask();
  show();
}

// Starts from a picture that was drawn; with a model that can, if there is one.
export function startFrom({ id, ...image }) {
  const able = Object.values(models).find(canStart);
  if (!canStart(modelChosen()) && able) { chooseModel(able.name); toast(t("%(model)s can start from a picture, so it is chosen now.", { model: able.title })); }
  set({ image: id, id, url: pictureUrl({ id, ...image }) });
  $(".start", form).scrollIntoView({ block: "nearest" });
}

// Takes what a job started from, or nothing, as it did; its mask can be used as it is, or be painted again.
export function startAs(job) {
  const { id, image: isGiven, mask: isMasked, strength, metadata, padding_mask_crop: padding } = job;
  const drawn = !isMasked && metadata?.[START];
  set(!isGiven ? null : drawn ? { image: drawn, id: drawn, url: `/api/v1/images/${encodeURIComponent(drawn)}` } : { image: id, id: null, url: inputUrl(job) });
  if (isMasked) mask = { mask: id, url: inputUrl(job, "mask") };
  if (isGiven) form.elements.strength.value = strength;
  form.elements.crop.checked = Number.isInteger(padding);
  if (Number.isInteger(padding)) form.elements.padding.value = padding;
  show();
}

async function take(file) {
  const read = file && await readPicture(file);
  if (read) set({ ...read, id: null });
}

async function paint() {
  const painted = await paintMask(picture.url);
  if (painted !== undefined) mask = painted && { mask: painted, url: painted };
  show();
}

// Has the picture drawn on beyond its edges, in the shape that the form says.
async function extend() {
  const [width, height] = form.elements.size.value.split("x").map(Number);
  const { image, part } = await extended(picture.url, width, height);
  set({ image, url: image, id: null });
  const around = maskAround(width, height, part);
  mask = { mask: around, url: around };
  form.elements.strength.value = 1;
  show();
}

export function setUpStart() {
  const drop = $(".start .drop", form);
  acceptChosen($("input", drop), take);
  if (anyCanStart()) acceptPicture(form, drop, { isAble: () => canStart(modelChosen()), take, takeDrawn: (id) => startFrom({ id, url: `/api/v1/images/${id}` }) });
  $("[data-paint]", form).onclick = () => attempt(paint);
  $("[data-extend]", form).onclick = () => attempt(extend);
  $("[data-unpaint]", form).onclick = () => { mask = null; forgetMask(); show(); };
  $("[data-unstart]", form).onclick = () => { set(null); $(".start input", form).focus(); };
  form.addEventListener("settings", show);
  show();
}
