// The pictures of a bulk on one sheet, each with its prompt.
import { call, getJson, thumbnailUrl } from "./api.js";
import { FONT, INK, PAPER } from "./grid-picture.js";

export const MOST = 120;
const PAGE = 100;
const SIDE = 192; // pixels
const LABEL = 14;
const GAP = 16;
const MOST_COLUMNS = 8;

async function picturesOf(bulk) {
  const found = [];
  let cursor = "";
  do {
    const page = await getJson(`jobs?bulk=${bulk}&status=succeeded&limit=${PAGE}${cursor && `&cursor=${cursor}`}`);
    found.push(...page.items);
    cursor = page.next;
  } while (cursor);
  return found.reverse().flatMap((job) => job.images.map((image) => ({ job, image })));
}

function caption(pen, text, x, y) {
  let shown = text;
  while (shown && pen.measureText(shown === text ? shown : `${shown}…`).width > SIDE) shown = shown.slice(0, -1);
  pen.fillText(shown === text ? shown : `${shown}…`, x, y);
}

// In the order of the bulk's lines. Returns {sheet, count}: a PNG as a Blob, and how many pictures the bulk has.
export async function contactSheet(bulk) {
  const all = await picturesOf(bulk);
  const pictures = all.slice(0, MOST);
  const columns = Math.min(MOST_COLUMNS, Math.ceil(Math.sqrt(pictures.length)));
  const tall = SIDE + LABEL + 2 * GAP;
  const canvas = Object.assign(document.createElement("canvas"), { width: GAP + columns * (SIDE + GAP), height: GAP + Math.ceil(pictures.length / columns) * tall });
  const pen = canvas.getContext("2d");
  pen.fillStyle = PAPER;
  pen.fillRect(0, 0, canvas.width, canvas.height);
  Object.assign(pen, { fillStyle: INK, font: `500 ${LABEL}px ${FONT}`, textBaseline: "top" });
  for (const [at, { job, image }] of pictures.entries()) {
    const [x, y] = [GAP + (at % columns) * (SIDE + GAP), GAP + Math.floor(at / columns) * tall];
    const bitmap = await createImageBitmap(await (await call(thumbnailUrl(image, 384))).blob());
    const scale = SIDE / Math.max(bitmap.width, bitmap.height);
    pen.drawImage(bitmap, x + (SIDE - bitmap.width * scale) / 2, y + (SIDE - bitmap.height * scale) / 2, bitmap.width * scale, bitmap.height * scale);
    caption(pen, job.prompt, x, y + SIDE + GAP / 2);
  }
  const sheet = await new Promise((resolve) => { canvas.toBlob(resolve, "image/png"); });
  return { sheet, count: all.length };
}
