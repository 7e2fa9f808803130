// The picture that the studio starts from: chosen, dropped, pasted or one that was drawn, with its strength and mask.
import { pictureUrl } from "./api.js";
import { $, $$ } from "./dom.js";
import { acceptPictures, hasPictures } from "./drag.js";
import { form, modelChosen, models, chooseModel } from "./form.js";
import { number, t } from "./i18n.js";
import { forgetMask, paintMask } from "./mask.js";
import { attempt, toast } from "./toast.js";

const MOST_BYTES = 9_000_000; // the service takes 10 MB
const LONGEST = 2048; // pixels, of a picture that has to be made smaller
const KINDS = ["image/png", "image/jpeg", "image/webp"];
const START = "started_from"; // as in actions.js
let picture = null; // {image: id or data URL, url, id}
let mask = null; // a data URL

const can = (task) => modelChosen().tasks.includes(task);
const canStart = (model) => model.tasks.some((task) => task !== "text-to-image");

export const anyCanStart = () => Object.values(models).some(canStart);

// What the form's request takes from here.
export function startFields() {
  if (!picture || !canStart(modelChosen())) return {};
  return {
    image: picture.image, strength: Number(form.elements.strength.value),
    ...(mask && can("inpainting") && { mask }), ...(picture.id && !mask && { metadata: { [START]: picture.id } }),
  };
}

// Setting the same source again would load it again, at every key that is typed.
const setSource = (image, url) => { if (image.getAttribute("src") !== url) image.src = url; };

function show() {
  const isAble = canStart(modelChosen());
  const isOnly = !can("image-to-image");
  $(".start", form).hidden = !isAble;
  $("[data-no-start]", form).hidden = isAble;
  $("[data-no-start]", form).textContent = anyCanStart() ? t("This model draws from words only. Choose another one to start from a picture.") : t("This model draws from words only.");
  $(".start .drop", form).hidden = Boolean(picture);
  $(".started", form).hidden = !picture;
  $("[data-paint]", form).hidden = !can("inpainting");
  $("[data-paint] span", form).textContent = mask ? t("Change the mask") : t("Paint a mask");
  $("[data-unpaint]", form).hidden = !mask || !can("inpainting");
  $("[data-about-mask]", form).textContent = !can("inpainting") ? t("This model changes the whole picture; it cannot fill a mask.") : mask ? t("Only what is painted is drawn again.") : isOnly ? t("This model fills a mask: paint where the picture may change.") : t("Without a mask the whole picture may change.");
  $(".started .masked", form).hidden = !mask || !can("inpainting");
  if (picture) setSource($(".started .picture", form), picture.url);
  if (mask) setSource($(".started .masked", form), mask);
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

const asDataUrl = (blob) => new Promise((resolve, reject) => {
  const reader = new FileReader();
  reader.onload = () => resolve(reader.result);
  reader.onerror = () => reject(reader.error);
  reader.readAsDataURL(blob);
});

// The file as the service takes it: of another kind or too large, it is made again, smaller.
async function readable(file) {
  if (KINDS.includes(file.type) && file.size <= MOST_BYTES) return file;
  const bitmap = await createImageBitmap(file);
  const scale = Math.min(1, LONGEST / Math.max(bitmap.width, bitmap.height));
  const canvas = Object.assign(document.createElement("canvas"), { width: Math.round(bitmap.width * scale), height: Math.round(bitmap.height * scale) });
  canvas.getContext("2d").drawImage(bitmap, 0, 0, canvas.width, canvas.height);
  return new Promise((resolve) => { canvas.toBlob(resolve, "image/webp", 0.95); });
}

async function take(file) {
  if (!file) return;
  const url = URL.createObjectURL(file);
  try {
    const probe = Object.assign(new Image(), { src: url });
    await probe.decode();
    set({ image: await asDataUrl(await readable(file)), url, id: null });
  } catch {
    URL.revokeObjectURL(url);
    toast(t("“%(name)s” is not a picture that this browser can read.", { name: file.name }), { bad: true, seconds: 8 });
  }
}

const fileOf = (transfer) => [...(transfer?.files ?? [])].find(({ type }) => type.startsWith("image/"));

async function paint() {
  const painted = await paintMask(picture.url);
  if (painted !== undefined) mask = painted;
  show();
}

function listenForFiles() {
  const drop = $(".start .drop", form);
  $("input", drop).addEventListener("change", ({ target }) => { take(target.files[0]).then(() => { target.value = ""; }); });
  for (const name of ["dragover", "dragleave", "drop"]) form.addEventListener(name, (event) => {
    if (!canStart(modelChosen()) || !event.dataTransfer?.types.includes("Files") || hasPictures(event)) return;
    event.preventDefault();
    drop.classList.toggle("over", name === "dragover");
    if (name === "drop") take(fileOf(event.dataTransfer) ?? event.dataTransfer.files[0]);
  });
  if (anyCanStart()) acceptPictures(form, ([id]) => startFrom({ id, url: `/api/v1/images/${id}` }));
  document.addEventListener("paste", (event) => {
    const file = fileOf(event.clipboardData);
    if (!file || !canStart(modelChosen())) return;
    event.preventDefault();
    take(file);
  });
}

export function setUpStart() {
  listenForFiles();
  $("[data-paint]", form).onclick = () => attempt(paint);
  $("[data-unpaint]", form).onclick = () => { mask = null; forgetMask(); show(); };
  $("[data-unstart]", form).onclick = () => { set(null); $(".start input", form).focus(); };
  form.addEventListener("input", show);
  show();
}
