// Dragging pictures onto a board or onto the field for the picture to start from, also from another window.
import { $$, el } from "./dom.js";
import { number } from "./i18n.js";

const TYPE = "application/x-limner-pictures";
const ID = /^img_[0-9a-z]{26}$/;
const root = document.documentElement;

export const hasPictures = ({ dataTransfer }) => Boolean(dataTransfer?.types.includes(TYPE));

// The ids of the pictures that are dropped. What another site's page offers as such is not taken.
export function droppedIds({ dataTransfer }) {
  try {
    return JSON.parse(dataTransfer.getData(TYPE)).filter((id) => ID.test(id));
  } catch {
    return [];
  }
}

// The number of pictures, at the pointer.
function showNumber(dataTransfer, value) {
  const ghost = el("div", { className: "drag-number" }, number(value));
  document.body.append(ghost);
  dataTransfer.setDragImage(ghost, -8, -8);
  setTimeout(() => ghost.remove());
}

const end = () => root.classList.remove("dragging-pictures");

// Lets an element be dragged; `images()` are the pictures that go with it. What it contains is not dragged by itself:
// the browser gives up the drag of a picture that has not loaded yet.
export function makeDraggable(element, images) {
  element.draggable = true;
  for (const image of $$("img", element)) image.draggable = false;
  element.addEventListener("dragstart", ({ dataTransfer }) => {
    const dragged = images();
    dataTransfer.effectAllowed = "copy";
    dataTransfer.setData(TYPE, JSON.stringify(dragged.map(({ id }) => id)));
    dataTransfer.setData("text/uri-list", dragged.map(({ url }) => new URL(url, location).href).join("\r\n"));
    if (dragged.length > 1) showNumber(dataTransfer, dragged.length);
    setTimeout(() => root.classList.add("dragging-pictures")); // a change at once would end the drag
    // Of an element that has left the page meanwhile, no event tells the end.
    addEventListener("pointermove", end, { once: true });
  });
  element.addEventListener("dragend", end);
}

// Lets pictures be dropped on an element; `onDrop(ids)` takes them.
export function acceptPictures(element, onDrop) {
  for (const name of ["dragenter", "dragover", "dragleave", "drop"]) element.addEventListener(name, (event) => {
    if (!hasPictures(event)) return;
    event.preventDefault();
    event.dataTransfer.dropEffect = "copy";
    element.classList.toggle("over", name === "dragenter" || name === "dragover");
    if (name !== "drop") return;
    end();
    const ids = droppedIds(event);
    if (ids.length) onDrop(ids);
  });
}
