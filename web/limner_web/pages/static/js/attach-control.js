// The control picture that the next message's pictures follow: one that is brought with it, or that of the message before.
import { inputUrl } from "./api.js";
import { $ } from "./dom.js";
import { number } from "./i18n.js";
import { readPicture } from "./picture-file.js";

const form = $("#compose");
const area = $(".followed", form);
const button = $(".attach-control", form);
const { model, control_scale: scale } = form.elements;
let earlier = null; // {url, scale}: what the message before follows
let picture = null; // `earlier`, or {image, url, width, height}
let limits = ""; // those of the model that is chosen: the least, the most and the default

const limitsNow = () => model.selectedOptions[0].dataset.control ?? "";

export const isFollowing = () => limitsNow() !== "";

export function showFollowed() {
  if (limits !== limitsNow()) {
    limits = limitsNow();
    const [min, max, value] = limits.split(" ");
    if (limits) Object.assign(scale, { min, max, value: picture?.scale ?? value, disabled: min === max });
  }
  button.hidden = !limits || Boolean(picture);
  area.hidden = !limits || !picture;
  $("button", area).hidden = picture === earlier; // the model needs one
  if (picture && $("img", area).getAttribute("src") !== picture.url) $("img", area).src = picture.url;
  form.elements.control_scale_shown.value = number(Number(scale.value), { minimumFractionDigits: 2 });
}

function set(next) {
  if (picture?.url.startsWith("blob:")) URL.revokeObjectURL(picture.url);
  picture = next;
  if (next?.scale !== undefined) scale.value = next.scale;
  showFollowed();
}

// What the message says of its control picture; without a picture, the service says that the model needs one.
export function followedFields() {
  if (!limits || !picture) return {};
  return { ...(picture.image && { control_image: picture.image }), control_scale: Number(scale.value) };
}

// The picture that is brought with the message, if there is one.
export const broughtControl = () => (limits && picture?.image ? picture : null);

// The next message goes on from this job, and follows what it follows.
export function followFrom(job) {
  showFollowed();
  earlier = job?.control_image ? { url: inputUrl(job, "control_image"), scale: job.control_scale } : null;
  set(earlier);
}

export const bringControl = set;

export function setUpFollowing() {
  $("input", button).addEventListener("change", async ({ target }) => {
    const read = await readPicture(target.files[0]);
    target.value = "";
    if (read) set(read);
    form.elements.message.focus();
  });
  $("button", area).onclick = () => { set(earlier); form.elements.message.focus(); };
  $("img", area).addEventListener("error", () => { if (picture === earlier) followFrom(null); });
  scale.addEventListener("input", showFollowed);
  showFollowed();
}
