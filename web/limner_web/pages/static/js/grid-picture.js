// Draws a grid with its labels as one PNG.
import { call, pictureUrl } from "./api.js";

const GAP = 8;
const MARGIN = 28;
const LABEL = 15; // pixels
const TITLE = 20;
const MOST_LABEL = 220;
export const FONT = "Inter, 'Segoe UI', system-ui, 'Noto Sans', 'DejaVu Sans', sans-serif";
export const INK = "#231c14";
const QUIET = "#6b6155";
export const PAPER = "#ffffff";

const bitmap = async (image) => createImageBitmap(await (await call(pictureUrl(image, "png"))).blob());

// `cells` are rows of images or null. Returns a PNG as a Blob.
export async function drawGrid({ title, note, columns, rows, cells }) {
  const pictures = await Promise.all(cells.map((row) => Promise.all(row.map((image) => image && bitmap(image)))));
  const side = Math.max(128, ...pictures.flat().map((each) => each?.width || 0));
  const tall = Math.max(128, ...pictures.flat().map((each) => each?.height || 0));
  const canvas = document.createElement("canvas");
  const pen = canvas.getContext("2d");
  pen.font = `600 ${LABEL}px ${FONT}`;
  const left = Math.min(MOST_LABEL, Math.max(...rows.map((row) => pen.measureText(row).width))) + 2 * GAP;
  const heads = columns.map((text) => wrap(pen, text, side));
  const top = MARGIN + TITLE + 2 * GAP + Math.max(...heads.map(({ length }) => length)) * LABEL * 1.3 + GAP;
  canvas.width = Math.ceil(2 * MARGIN + left + columns.length * (side + GAP));
  canvas.height = Math.ceil(top + rows.length * (tall + GAP) + LABEL + MARGIN);
  Object.assign(pen, { fillStyle: PAPER });
  pen.fillRect(0, 0, canvas.width, canvas.height);
  write(pen, [title], MARGIN, MARGIN, { size: TITLE, weight: 660, width: canvas.width - 2 * MARGIN });
  for (const [at, lines] of heads.entries()) write(pen, lines, MARGIN + left + at * (side + GAP) + side / 2, top - GAP - lines.length * LABEL * 1.3, { align: "center", width: side });
  for (const [line, row] of pictures.entries()) {
    const y = top + line * (tall + GAP);
    const lines = wrap(pen, rows[line], left - 2 * GAP);
    write(pen, lines, MARGIN + left - 2 * GAP, y + tall / 2 - (lines.length * LABEL * 1.3) / 2, { align: "right", width: left });
    for (const [at, picture] of row.entries()) {
      const x = MARGIN + left + at * (side + GAP);
      if (picture) pen.drawImage(picture, x + (side - picture.width) / 2, y + (tall - picture.height) / 2);
      else { pen.fillStyle = "#f1ece4"; pen.fillRect(x, y, side, tall); }
    }
  }
  write(pen, [note], MARGIN, canvas.height - MARGIN - LABEL / 2, { size: 13, weight: 400, colour: QUIET, width: canvas.width - 2 * MARGIN });
  return new Promise((resolve) => { canvas.toBlob(resolve, "image/png"); });
}

function write(pen, lines, x, y, { size = LABEL, weight = 600, align = "left", colour = INK, width }) {
  Object.assign(pen, { font: `${weight} ${size}px ${FONT}`, textAlign: align, textBaseline: "top", fillStyle: colour });
  for (const [at, line] of lines.entries()) pen.fillText(line, x, y + at * size * 1.3, width);
}

// Breaks a text into lines of at most this width, at most three of them.
function wrap(pen, text, width) {
  const lines = [];
  for (const word of text.split(" ")) {
    const longer = lines.length ? `${lines.at(-1)} ${word}` : word;
    if (lines.length && pen.measureText(longer).width <= width) lines[lines.length - 1] = longer;
    else lines.push(word);
  }
  return lines.length > 3 ? [...lines.slice(0, 2), `${lines[2]} …`] : lines;
}
