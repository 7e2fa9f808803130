// The pictures from which a model with an IP-Adapter takes a subject or a style, with how much it takes from them.
import { call, inputUrl, pictureUrl } from "./api.js";
import { $, el, icon } from "./dom.js";
import { acceptPictures, hasPictures } from "./drag.js";
import { chooseModel, form, modelChosen, models } from "./form.js";
import { number, t, tn } from "./i18n.js";
import { acceptFiles, asDataUrl, readPicture } from "./picture-file.js";
import { toast } from "./toast.js";

const place = $(".references", form);
const drop = $(".drop", place);
const scale = form.elements.reference_scale;
let pictures = []; // {image: a data URL or the id of a picture or job, url, place: its number among those of that job}
let rule = null; // that of the model that is chosen

const able = () => Object.values(models).find(({ reference }) => reference);
const used = () => pictures.slice(0, rule?.most ?? 0); // the others wait for a model that takes as many

export const anyTakesReferences = () => Boolean(able());

// A job stands for the picture that it was given in the same place; in another place, the picture itself is sent.
async function sourceOf({ image, url, place: before = null }, at) {
  return before === null || before === at ? image : asDataUrl(await (await call(url)).blob());
}

// What the form's request takes from here.
export async function referenceFields() {
  if (!used().length) return {};
  return { reference_images: await Promise.all(used().map(sourceOf)), reference_scale: Number(scale.value) };
}

function thumb(picture, at) {
  const name = t("Remove reference picture %(n)s", { n: number(at + 1) });
  const away = el("button", { type: "button", className: "icon-btn", ariaLabel: name, title: name, onclick: () => remove(picture) }, icon("x"));
  return el("li", { className: "thumb" }, el("img", { src: picture.url, alt: t("Reference picture %(n)s", { n: number(at + 1) }) }), away);
}

function show() {
  const now = modelChosen().reference ?? null;
  if (now !== rule) {
    rule = now;
    if (now) Object.assign(scale, { ...now.scale, value: now.scale.default, disabled: now.scale.min === now.scale.max });
    showPictures();
  }
  form.elements.reference_scale_shown.value = number(Number(scale.value), { minimumFractionDigits: 2 });
}

function showPictures() {
  place.hidden = !rule;
  place.classList.toggle("some", used().length > 0);
  drop.hidden = used().length === rule?.most;
  $("[data-about-references]", place).textContent = rule ? tn("%(n)s, for its subject or style", "up to %(n)s, for their subject or style", rule.most) : "";
  $("ul", place).replaceChildren(...used().map(thumb));
}

function remove(picture) {
  if (picture.url.startsWith("blob:")) URL.revokeObjectURL(picture.url);
  pictures = pictures.filter((each) => each !== picture);
  showPictures();
  $("input", drop).focus();
}

function add(found) {
  const free = rule.most - used().length;
  pictures = [...used(), ...found.slice(0, free)];
  showPictures();
  if (found.length > free) toast(tn("This model takes %(n)s reference picture.", "This model takes %(n)s reference pictures.", rule.most));
}

const drawn = (id) => ({ image: id, url: pictureUrl({ url: `/api/v1/images/${id}` }) });

// Takes pictures that were drawn as references; with a model that can, if there is one.
export function referTo(ids) {
  const other = able();
  if (!modelChosen().reference) { chooseModel(other.name); toast(t("%(model)s takes reference pictures, so it is chosen now.", { model: other.title })); }
  add(ids.map(drawn));
  place.scrollIntoView({ block: "nearest" });
}

// Takes the references of a job, and how much it took from them; drops those before.
export function referAs({ id, reference_images: given = [], reference_scale }) {
  pictures = given.map((_, at) => ({ image: id, url: inputUrl({ id }, `reference_images[${at}]`), place: at }));
  if (given.length && rule) scale.value = reference_scale;
  show();
  showPictures();
}

async function take(files) {
  const read = await Promise.all(files.map(readPicture));
  add(read.filter(Boolean));
}

export function setUpReferences() {
  acceptFiles(drop, take);
  acceptPictures(drop, (ids) => referTo(ids));
  for (const name of ["dragenter", "dragover", "drop"]) drop.addEventListener(name, (event) => { if (hasPictures(event)) event.stopPropagation(); });
  form.addEventListener("input", show);
  form.addEventListener("settings", show);
  show();
}
