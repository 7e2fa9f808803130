// The pictures of the next message: the one that it starts from, which is brought with it or that of the message before,
// and its control picture.
import { api, inputUrl } from "./api.js";
import { bringControl, broughtControl, followedFields, followFrom, isFollowing, setUpFollowing, showFollowed } from "./attach-control.js";
import { dropMask, maskFields, paint, setUpMask, showMask } from "./attach-mask.js";
import { $, $$ } from "./dom.js";
import { number, t } from "./i18n.js";
import { acceptChosen, acceptPicture, readPicture } from "./picture-file.js";
import { toast } from "./toast.js";

const form = $("#compose");
const area = $(".attached", form);
const { model, strength } = form.elements;
const FROM_WORDS = "none";
let earlier = null; // {url, strength}: what the message before starts from
let picture = null; // `earlier`, or {image, url, width, height}

const chosen = () => model.selectedOptions[0];
const isAble = (option) => "starts" in option.dataset;

function show() {
  const image = $("img", area);
  $(".attach", form).hidden = ![...model.options].some(isAble);
  area.hidden = !picture || !isAble(chosen());
  if (picture && image.getAttribute("src") !== picture.url) image.src = picture.url;
  form.elements.strength_shown.value = number(Number(strength.value), { minimumFractionDigits: 2 });
  showMask();
  showFollowed();
}

function set(next) {
  if (picture?.url.startsWith("blob:")) URL.revokeObjectURL(picture.url);
  picture = next;
  dropMask();
  strength.value = next?.strength ?? strength.defaultValue;
  show();
}

// The size of the model whose shape is the picture's; the first of several.
function sizeOf({ width, height }) {
  if (!width) return {};
  const sizes = chosen().dataset.sizes.split(" ").map((size) => size.split("x").map(Number));
  const distance = ([wide, high]) => Math.abs(Math.log((wide * height) / (high * width)));
  const [wide, high] = sizes.reduce((best, size) => (distance(size) < distance(best) - 1e-6 ? size : best));
  return { width: wide, height: high };
}

// What the message says of its pictures; its shape is that of the one that is brought.
export function attachedFields() {
  const control = broughtControl();
  return { ...(control && sizeOf(control)), ...followedFields(), ...startFields() };
}

function startFields() {
  if (!isAble(chosen())) return {};
  if (!picture) return earlier ? { image: FROM_WORDS } : {};
  const fields = { strength: Number(strength.value), ...maskFields() };
  return picture.image ? { ...fields, image: picture.image, ...sizeOf(picture) } : fields;
}

// The next message goes on from this job: it starts from what the job starts from, and follows what it follows.
export function goOnFrom(job) {
  followFrom(job);
  earlier = job?.image ? { url: inputUrl(job), strength: job.strength } : null;
  set(earlier);
}

export const showAttached = show;

function bring(next) {
  const able = [...model.options].find(isAble);
  if (!isAble(chosen())) {
    model.value = able.value;
    toast(t("%(model)s can start from a picture, so it is chosen now.", { model: able.textContent }));
  }
  set(next);
}

// A model that only follows a picture takes it as that.
function offer(next) {
  if (isFollowing() && !isAble(chosen())) bringControl(next);
  else if ([...model.options].some(isAble)) bring(next);
}

async function take(file) {
  const read = file && await readPicture(file);
  if (read) offer(read);
}

export function setUpAttaching(thread) {
  $(".thumb button", area).onclick = () => { set(null); form.elements.message.focus(); };
  $("img", area).addEventListener("error", () => { if (picture === earlier) goOnFrom(null); });
  model.addEventListener("change", show);
  strength.addEventListener("input", show);
  if ($$("option:is([data-starts], [data-control])", model).length) {
    acceptChosen($(".attach input", form), take, () => form.elements.message.focus());
    acceptPicture(thread, thread, { take, takeDrawn: (id) => offer({ image: id, url: `${api}/images/${id}` }) });
  }
  setUpFollowing();
  setUpMask(() => picture.url);
  show();
}

export const canPaint = () => $$("option[data-masks]", model).length > 0;

// Brings a picture that was drawn, and opens the painter over it.
export async function changePart({ id }) {
  if (!("masks" in chosen().dataset)) model.value = $("option[data-masks]", model).value;
  bring({ image: id, url: `${api}/images/${id}` });
  await paint();
  form.elements.message.focus();
}
