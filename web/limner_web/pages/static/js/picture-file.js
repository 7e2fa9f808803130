// Picture files that a page takes: chosen, dropped or pasted.
import { $ } from "./dom.js";
import { acceptPictures, hasPictures } from "./drag.js";
import { t } from "./i18n.js";
import { toast } from "./toast.js";

const MOST_BYTES = 9_000_000; // the service takes 10 MB
const LONGEST = 2048; // pixels, of a picture that has to be made smaller
const KINDS = ["image/png", "image/jpeg", "image/webp"];

export const asDataUrl = (blob) => new Promise((resolve, reject) => {
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

const filesOf = (transfer) => [...(transfer?.files ?? [])].filter(({ type }) => type.startsWith("image/"));

const fileOf = (transfer) => filesOf(transfer)[0];

// The file as {image, url, width, height}: its `data:` URL, and one to show it; null if the browser cannot read it.
export async function readPicture(file) {
  const url = URL.createObjectURL(file);
  try {
    const probe = Object.assign(new Image(), { src: url });
    await probe.decode();
    return { image: await asDataUrl(await readable(file)), url, width: probe.naturalWidth, height: probe.naturalHeight };
  } catch {
    URL.revokeObjectURL(url);
    toast(t("“%(name)s” is not a picture that this browser can read.", { name: file.name }), { bad: true, seconds: 8 });
    return null;
  }
}

// Lets one picture be dropped on an area or pasted, while `isAble()`: `take(file)` takes a file, `takeDrawn(id)` one that
// was drawn. `drop` shows that a file is above the area.
export function acceptPicture(area, drop, { isAble = () => true, take, takeDrawn }) {
  for (const name of ["dragover", "dragleave", "drop"]) area.addEventListener(name, (event) => {
    if (!isAble() || !event.dataTransfer?.types.includes("Files") || hasPictures(event)) return;
    event.preventDefault();
    drop.classList.toggle("over", name === "dragover");
    if (name === "drop") take(fileOf(event.dataTransfer) ?? event.dataTransfer.files[0]);
  });
  acceptPictures(area, ([id]) => takeDrawn(id));
  document.addEventListener("paste", (event) => {
    const file = fileOf(event.clipboardData);
    if (!file || !isAble()) return;
    event.preventDefault();
    take(file);
  });
}

// Lets one picture file be chosen in a field.
export const acceptChosen = (input, take, onTaken = () => {}) => input.addEventListener("change", () => { take(input.files[0]).then(() => { input.value = ""; onTaken(); }); });

// Lets picture files be chosen in a field of a form or dropped on it; elsewhere in the form, one is the picture to start
// from. `take(files)` takes them.
export function acceptFiles(drop, take) {
  $("input", drop).addEventListener("change", ({ target }) => { take([...target.files]).then(() => { target.value = ""; }); });
  for (const name of ["dragover", "dragleave", "drop"]) drop.addEventListener(name, (event) => {
    if (!event.dataTransfer?.types.includes("Files") || hasPictures(event)) return;
    event.preventDefault();
    event.stopPropagation();
    drop.classList.toggle("over", name === "dragover");
    if (name === "drop") take(filesOf(event.dataTransfer));
  });
}
