// The mask of the picture that the next message starts from: painted over it, for models that can inpaint.
import { $ } from "./dom.js";
import { number, t } from "./i18n.js";
import { forgetMask, paintMask, showOver } from "./mask.js";
import { attempt } from "./toast.js";

const form = $("#compose");
const area = $(".attached", form);
const { model, crop, padding, padding_shown: shown } = form.elements;
let mask = null; // a data URL
let pictureNow = () => null; // the address of the picture

const can = (what) => what in model.selectedOptions[0].dataset;

export function showMask() {
  $("[data-paint]", area).hidden = !can("masks");
  $("[data-paint] span", area).textContent = mask ? t("Change the mask") : t("Paint a mask");
  $("[data-unpaint]", area).hidden = !mask || !can("masks");
  showOver($(".masked", area), can("masks") ? mask : null);
  $(".cropped", area).hidden = !mask || !can("crops");
  $("[data-padding]", area).hidden = !crop.checked;
  shown.value = t("%(n)s pixels", { n: number(Number(padding.value)) });
}

// What the message says of its mask.
export const maskFields = () => (mask && can("masks") ? { mask, ...(crop.checked && can("crops") && { padding_mask_crop: Number(padding.value) }) } : {});

export function dropMask() {
  mask = null;
  forgetMask();
}

export async function paint() {
  const painted = await paintMask(pictureNow());
  if (painted !== undefined) mask = painted;
  showMask();
}

export function setUpMask(urlOf) {
  pictureNow = urlOf;
  $("[data-paint]", area).onclick = () => attempt(paint);
  $("[data-unpaint]", area).onclick = () => { dropMask(); showMask(); };
  for (const input of [crop, padding]) input.addEventListener("input", showMask);
}
