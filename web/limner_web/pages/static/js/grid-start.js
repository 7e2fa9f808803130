// The picture that all cells of a grid start from: chosen, dropped or pasted, or one that was drawn.
import { api } from "./api.js";
import { $ } from "./dom.js";
import { number } from "./i18n.js";
import { acceptChosen, acceptPicture, readPicture } from "./picture-file.js";

const MOST_CHARS = 48_000; // of a `data:` URL: a line of a bulk may have 64 KiB
const LONGEST = 1024; // pixels
const form = $("#plan");
const area = $(".start", form);
const { strength } = form.elements;
let picture = null; // {image: id or data URL, url}
let onChange = () => {};

// What each cell's request takes from here.
export const startFields = () => (picture ? { image: picture.image, strength: Number(strength.value) } : {});
export const isStarted = () => picture !== null;

function show() {
  $(".drop", area).hidden = Boolean(picture);
  $(".started", area).hidden = !picture;
  if (picture) $(".picture", area).src = picture.url;
  form.elements.strength_shown.value = number(Number(strength.value), { minimumFractionDigits: 2 });
}

function set(next) {
  if (picture?.url.startsWith("blob:")) URL.revokeObjectURL(picture.url);
  picture = next;
  show();
  onChange();
}

// The picture as a `data:` URL that fits into a line: where it does not, smaller.
async function fitting({ image, url, width, height }) {
  if (image.length <= MOST_CHARS) return image;
  const whole = Object.assign(new Image(), { src: url });
  await whole.decode();
  const canvas = document.createElement("canvas");
  for (let scale = Math.min(1, LONGEST / Math.max(width, height)); ; scale *= 0.8) {
    Object.assign(canvas, { width: Math.round(width * scale), height: Math.round(height * scale) });
    canvas.getContext("2d").drawImage(whole, 0, 0, canvas.width, canvas.height);
    const made = canvas.toDataURL("image/webp", 0.85);
    if (made.length <= MOST_CHARS) return made;
  }
}

async function take(file) {
  const read = file && await readPicture(file);
  if (read) set({ image: await fitting(read), url: read.url });
}

// Starts from a picture that was drawn.
export const startFrom = (id) => set({ image: id, url: `${api}/images/${id}` });

// `onSet` is called with each change; `isAble()` says whether the model can start from a picture.
export function setUpStart(isAble, onSet) {
  onChange = onSet;
  const drop = $(".drop", area);
  acceptChosen($("input", drop), take);
  acceptPicture(form, drop, { isAble, take, takeDrawn: (id) => { if (isAble()) startFrom(id); } });
  $("[data-unstart]", area).onclick = () => { set(null); $("input", drop).focus(); };
  strength.addEventListener("input", show);
  show();
}
