// A grid of equal cells of which only those near the window exist, so that its length does not matter.
import { $$, perFrame } from "./dom.js";

const SPARE_ROWS = 3;
const FAST = 2; // pixels a millisecond: what passes faster is not worth its request
const REST_MS = 90;

// `render(item, index)` makes a cell; `keyOf(item)` identifies it, so that cells are kept while the list changes;
// `onNearEnd` is called when the last rows come near. A picture is loaded from its `data-src` once the scrolling is slow
// enough to see it, and given up when its cell goes: otherwise the pictures of the place where a reader arrives wait for
// hundreds of others.
export function makeGrid(root, { render, keyOf, least, onNearEnd, gap = 8 }) {
  let items = [];
  const cells = new Map(); // key -> element
  let layout = { columns: 1, size: least };
  let isFast = false;
  let focused = null; // the key of a cell that had the focus and is drawn again

  function measure() {
    const width = root.clientWidth;
    const columns = Math.max(2, Math.floor((width + gap) / (least() + gap)));
    layout = { columns, size: (width - gap * (columns - 1)) / columns };
    root.style.height = `${Math.max(0, Math.ceil(items.length / columns) * (layout.size + gap) - gap)}px`;
  }

  function range() {
    const pitch = layout.size + gap;
    const top = -root.getBoundingClientRect().top;
    const first = Math.max(0, Math.floor(top / pitch) - SPARE_ROWS) * layout.columns;
    const last = (Math.ceil((top + innerHeight) / pitch) + SPARE_ROWS) * layout.columns;
    return [first, Math.min(items.length, last)];
  }

  function draw() {
    const [first, last] = range();
    const wanted = new Set(items.slice(first, last).map(keyOf));
    for (const [key, cell] of cells) if (!wanted.has(key)) remove(key, cell);
    let before = root.firstElementChild;
    for (let index = first; index < last; index += 1) {
      const key = keyOf(items[index]);
      let cell = cells.get(key);
      if (!cell) { cell = render(items[index], index); cells.set(key, cell); }
      place(cell, index);
      if (cell === before) before = before.nextElementSibling; // DOM order is reading order
      else root.insertBefore(cell, before);
      if (key === focused) cell.querySelector("button").focus({ preventScroll: true });
    }
    focused = null;
    if (!isFast) loadPictures();
    if (last > items.length - 4 * layout.columns) onNearEnd();
  }

  function place(cell, index) {
    const [row, column] = [Math.floor(index / layout.columns), index % layout.columns];
    cell.dataset.index = index;
    cell.style.width = cell.style.height = `${layout.size}px`;
    cell.style.transform = `translate(${column * (layout.size + gap)}px, ${row * (layout.size + gap)}px)`;
  }

  function loadPictures() {
    for (const image of $$("img[data-src]", root)) { image.src = image.dataset.src; delete image.dataset.src; }
  }

  function remove(key, cell) {
    for (const image of $$("img", cell)) if (!image.complete) image.removeAttribute("src");
    cell.remove();
    cells.delete(key);
  }

  let [topBefore, timeBefore, resting] = [scrollY, 0, null];
  function onScroll() {
    const now = performance.now();
    isFast = Math.abs(scrollY - topBefore) > FAST * (now - timeBefore);
    [topBefore, timeBefore] = [scrollY, now];
    clearTimeout(resting);
    if (isFast) resting = setTimeout(() => { isFast = false; loadPictures(); }, REST_MS);
    drawSoon();
  }

  const update = () => { measure(); draw(); };
  const drawSoon = perFrame(draw);
  addEventListener("scroll", onScroll, { passive: true });
  new ResizeObserver(perFrame(update)).observe(root.parentElement);

  root.addEventListener("keydown", (event) => {
    const by = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: layout.columns, ArrowUp: -layout.columns }[event.key];
    const cell = event.target.closest("[data-index]");
    if (!by || !cell || event.target.type === "checkbox") return;
    const next = items[Number(cell.dataset.index) + by];
    if (!next) return;
    event.preventDefault();
    cells.get(keyOf(next))?.querySelector("button").focus();
  });

  return {
    show(list) { items = list; update(); },
    redraw(key) {
      const cell = cells.get(key);
      if (cell?.contains(document.activeElement)) focused = key;
      if (cell) remove(key, cell);
      drawSoon();
    },
    clear() { for (const [key, cell] of cells) remove(key, cell); },
    cells,
  };
}
