// The picture that a model with a control network follows: chosen or dropped, with how strictly it is followed.
import { inputUrl } from "./api.js";
import { $ } from "./dom.js";
import { form, modelChosen } from "./form.js";
import { number } from "./i18n.js";
import { acceptFiles, readPicture } from "./picture-file.js";

const place = $(".control", form);
const drop = $(".drop", place);
const scale = form.elements.control_scale;
let picture = null; // {image: a data URL or the id of a job, url}
let limits = null; // those of the model that is chosen

// What the form's request takes from here. Without a picture the service says that the model needs one.
export const controlFields = () => (picture && limits ? { control_image: picture.image, control_scale: Number(scale.value) } : {});

function show() {
  const now = modelChosen().control?.scale ?? null;
  if (now !== limits) {
    limits = now;
    if (now) Object.assign(scale, { min: now.min, max: now.max, value: now.default, disabled: now.min === now.max });
  }
  place.hidden = !limits;
  drop.hidden = Boolean(picture);
  $(".started", place).hidden = !picture;
  if (picture && $("img", place).src !== picture.url) $("img", place).src = picture.url;
  form.elements.control_scale_shown.value = number(Number(scale.value), { minimumFractionDigits: 2 });
}

function set(next) {
  if (picture?.url.startsWith("blob:")) URL.revokeObjectURL(picture.url);
  picture = next;
  show();
}

// Takes the picture that a job followed, and how strictly; drops the one before if it followed none.
export function followAs({ id, control_image: isGiven, control_scale }) {
  set(isGiven ? { image: id, url: inputUrl({ id }, "control_image") } : null);
  if (isGiven && limits) scale.value = control_scale;
  show();
}

async function take([file]) {
  const read = file && await readPicture(file);
  if (read) set(read);
}

export function setUpControl() {
  acceptFiles(drop, take);
  $("[data-uncontrol]", place).onclick = () => { set(null); $("input", drop).focus(); };
  form.addEventListener("input", show);
  show();
}
