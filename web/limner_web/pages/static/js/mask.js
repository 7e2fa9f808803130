// The mask painter: marks where a picture may change, by mouse, pen, touch or keyboard.
import { $, $$ } from "./dom.js";
import { t } from "./i18n.js";
import { addShortcuts } from "./keymap.js";
import { makeStrokes } from "./strokes.js";

const LONGEST = 1024; // pixels of the mask's longer side
const MOST_ZOOM = 6;
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

const dialog = $("#mask");
const find = (selector) => $(selector, dialog);
const area = dialog && find(".mask-area");
const stage = dialog && find(".mask-stage");
const canvas = dialog && find("canvas");
const ring = dialog && find(".ring");
const brush = dialog && find("[name=brush]");
const strokes = makeStrokes();
const pointers = new Map(); // the fingers on the picture
let isErasing = false;
let isPenDown = false; // by keyboard
let zoom = 1;
let pinch = null;
let at = { x: 0, y: 0 }; // where the brush is
let kept = []; // the strokes when the painter was opened

// Opens the painter over a picture; resolves to the mask as a data URL, null for an empty one, or undefined if canceled.
export function paintMask(url) {
  const picture = find("img");
  picture.src = url;
  return picture.decode().then(() => new Promise((resolve) => {
    const scale = LONGEST / Math.max(picture.naturalWidth, picture.naturalHeight);
    canvas.width = Math.round(picture.naturalWidth * scale);
    canvas.height = Math.round(picture.naturalHeight * scale);
    at = { x: canvas.width / 2, y: canvas.height / 2 };
    kept = strokes.copy;
    dialog.returnValue = "";
    dialog.addEventListener("close", () => {
      if (dialog.returnValue === "done") resolve(strokes.exported(canvas.width, canvas.height));
      else { strokes.copy = kept; resolve(undefined); }
    }, { once: true });
    dialog.showModal();
    setTool(false);
    setZoom(1);
    redraw();
    canvas.focus();
  }));
}

// The mask of all but a part, [x, y, width, height] in parts of the whole, of a picture of a size.
export function maskAround(width, height, part) {
  const scale = LONGEST / Math.max(width, height);
  const sides = [Math.round(width * scale), Math.round(height * scale)];
  strokes.begin({ around: part.map((each, at) => each * sides[at % 2]) });
  return strokes.exported(...sides);
}

// Shows a mask over a small picture.
export function showOver(element, url) {
  element.hidden = !url;
  element.style.maskImage = url ? `url("${url}")` : "";
}

export const forgetMask = () => { strokes.copy = []; };

// --- what is shown ---------------------------------------------------------------------------------------------------

function redraw() {
  strokes.draw(canvas, getComputedStyle(canvas).color);
  find("[data-mask=undo]").disabled = find("[data-mask=clear]").disabled = !strokes.canUndo;
  find("[data-mask=redo]").disabled = !strokes.canRedo;
}

function setTool(erase) {
  isErasing = erase;
  for (const button of $$("[data-tool]", dialog)) button.setAttribute("aria-pressed", (button.dataset.tool === "erase") === erase);
}

function setZoom(next) {
  const fit = Math.min(area.clientWidth / canvas.width, area.clientHeight / canvas.height);
  const middle = [(area.scrollLeft + area.clientWidth / 2) / stage.clientWidth, (area.scrollTop + area.clientHeight / 2) / stage.clientHeight];
  zoom = Math.min(MOST_ZOOM, Math.max(1, next));
  stage.style.width = `${canvas.width * fit * zoom}px`;
  stage.style.height = `${canvas.height * fit * zoom}px`;
  if (zoom > 1) area.scrollTo(middle[0] * stage.clientWidth - area.clientWidth / 2, middle[1] * stage.clientHeight - area.clientHeight / 2);
  moveRing();
}

// The brush's size on the mask: what its slider says is in thousandths of the longer side.
const size = () => (Number(brush.value) / 1000) * Math.max(canvas.width, canvas.height);

function moveRing() {
  const scale = stage.clientWidth / canvas.width;
  const width = size() * scale;
  Object.assign(ring.style, { width: `${width}px`, height: `${width}px`, left: `${at.x * scale - width / 2}px`, top: `${at.y * scale - width / 2}px` });
}

const say = (text) => { find("[role=status]").textContent = text; };

// --- painting ----------------------------------------------------------------------------------------------------------

const begin = () => strokes.begin({ points: [at], size: size(), isErasing });

function pointOf(event) {
  const box = canvas.getBoundingClientRect();
  return { x: ((event.clientX - box.left) / box.width) * canvas.width, y: ((event.clientY - box.top) / box.height) * canvas.height };
}

function onDown(event) {
  if (event.button) return;
  canvas.setPointerCapture(event.pointerId);
  pointers.set(event.pointerId, event);
  at = pointOf(event);
  endPen();
  if (pointers.size === 1) begin();
  if (pointers.size === 2) { strokes.drop(); pinch = { distance: distance(), zoom, ...middle() }; } // two fingers zoom
  moveRing();
  redraw();
}

function onMove(event) {
  const isDown = pointers.has(event.pointerId);
  if (isDown) pointers.set(event.pointerId, event);
  if (pinch) { if (pointers.size === 2) followPinch(); return; }
  for (const each of event.getCoalescedEvents?.() ?? [event]) { at = pointOf(each); if (isDown) strokes.extend(at); }
  moveRing();
  if (isDown) redraw();
}

function onUp({ pointerId }) {
  pointers.delete(pointerId);
  if (!pointers.size) pinch = null;
}

const distance = () => { const [a, b] = [...pointers.values()]; return Math.hypot(a.clientX - b.clientX, a.clientY - b.clientY); };
const middle = () => { const [a, b] = [...pointers.values()]; return { x: (a.clientX + b.clientX) / 2, y: (a.clientY + b.clientY) / 2 }; };

function followPinch() {
  const { x, y } = middle();
  setZoom((pinch.zoom * distance()) / pinch.distance);
  area.scrollBy(pinch.x - x, pinch.y - y);
  Object.assign(pinch, { x, y });
}

// --- commands and keys -------------------------------------------------------------------------------------------------

function endPen() {
  if (!isPenDown) return;
  isPenDown = false;
  say(t("Brush up"));
}

function togglePen() {
  if (isPenDown) { endPen(); return; }
  isPenDown = true;
  begin();
  redraw();
  say(isErasing ? t("Erasing") : t("Painting"));
}

function resize(by) {
  brush.value = Number(brush.value) + by;
  moveRing();
}

function move([x, y], isFast) {
  const step = size() * (isFast ? 2 : 0.5);
  at = { x: Math.min(canvas.width, Math.max(0, at.x + x * step)), y: Math.min(canvas.height, Math.max(0, at.y + y * step)) };
  if (isPenDown) { strokes.extend(at); redraw(); }
  moveRing();
  ring.scrollIntoView({ block: "nearest", inline: "nearest" });
}

const change = (work) => () => { endPen(); work(); redraw(); };
const commands = {
  undo: change(() => strokes.undo()), redo: change(() => strokes.redo()), clear: change(() => strokes.clear()),
  in: () => setZoom(zoom * 1.5), out: () => setZoom(zoom / 1.5), cancel: () => dialog.close(), done: () => dialog.close("done"),
};
const keys = { "+": "in", "=": "in", "-": "out", "Ctrl+z": "undo", "Ctrl+y": "redo", "Ctrl+Z": "redo", Delete: "clear" };

function onKey(event) {
  const name = (event.ctrlKey || event.metaKey ? "Ctrl+" : "") + event.key;
  const isOnCanvas = event.target === canvas;
  if (keys[name]) commands[keys[name]]();
  else if (name === "[" || name === "]") resize(name === "[" ? -10 : 10);
  else if (name === "b" || name === "e") setTool(name === "e");
  else if (isOnCanvas && (name === " " || name === "Enter")) togglePen();
  else if (isOnCanvas && ARROWS[name]) move(ARROWS[name], event.shiftKey);
  else return;
  event.preventDefault();
}

function listKeys() {
  const group = t("In the mask painter");
  addShortcuts(
    { group, keys: ["ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown"], text: t("Move the brush") }, { group, keys: [" "], text: t("Begin and end a stroke") },
    { group, keys: ["[", "]"], text: t("Smaller and larger brush") }, { group, keys: ["B", "E"], text: t("Paint and erase") }, { group, keys: ["Ctrl+Z", "Ctrl+Y"], text: t("Undo and redo") },
    { group, keys: ["Delete"], text: t("Clear the mask") }, { group, keys: ["+", "-"], text: t("Zoom in and out") },
  );
}

if (dialog) {
  listKeys();
  canvas.addEventListener("pointerdown", onDown);
  canvas.addEventListener("pointermove", onMove);
  for (const name of ["pointerup", "pointercancel"]) canvas.addEventListener(name, onUp);
  area.addEventListener("wheel", (event) => { if (event.ctrlKey) { event.preventDefault(); setZoom(zoom * (event.deltaY < 0 ? 1.2 : 1 / 1.2)); } }, { passive: false });
  dialog.addEventListener("keydown", onKey);
  dialog.addEventListener("click", ({ target }) => {
    const button = target.closest("button");
    if (button?.dataset.tool) setTool(button.dataset.tool === "erase");
    commands[button?.dataset.mask]?.();
  });
  brush.addEventListener("input", moveRing);
  addEventListener("resize", () => { if (dialog.open) setZoom(zoom); });
}
