// Zoom and pan of the pictures in an area, which move as one: wheel, double click, buttons, drag, pinch.
import { $$ } from "./dom.js";

const MOST = 8;

export function makeZoom(area) {
  const state = { scale: 1, x: 0, y: 0 };
  const pointers = new Map();
  let pinch = null;

  const frames = () => $$("figure", area).filter(({ clientWidth }) => clientWidth); // those that are shown

  function apply() {
    const [frame] = frames();
    const limit = (size) => (size * (state.scale - 1)) / 2;
    const within = (place, most) => Math.min(most, Math.max(-most, place));
    state.x = within(state.x, limit(frame?.clientWidth ?? 0));
    state.y = within(state.y, limit(frame?.clientHeight ?? 0));
    for (const image of $$("img", area)) image.style.transform = state.scale === 1 ? "" : `translate(${state.x}px, ${state.y}px) scale(${state.scale})`;
    area.classList.toggle("zoomed", state.scale > 1);
  }

  // Where a point of the window is, from the place that the middle of its picture has without pan.
  function fromMiddle(point) {
    const covers = (frame) => { const { left, right, top, bottom } = frame.getBoundingClientRect(); return point.x >= left && point.x <= right && point.y >= top && point.y <= bottom; };
    const shown = frames();
    const { left, top, width, height } = $$("img", shown.find(covers) ?? shown[0])[0].getBoundingClientRect();
    return { x: point.x - left - width / 2 + state.x, y: point.y - top - height / 2 + state.y };
  }

  // What is at `point` stays there; without one, what is in the middle.
  function to(scale, point = null) {
    const next = Math.min(MOST, Math.max(1, scale));
    const fixed = point ? fromMiddle(point) : { x: 0, y: 0 };
    for (const axis of ["x", "y"]) state[axis] = fixed[axis] - ((fixed[axis] - state[axis]) * next) / state.scale;
    state.scale = next;
    apply();
  }

  // What was at the place `from` comes to the place `next`.
  function move(from, next) {
    for (const axis of ["x", "y"]) state[axis] += next[axis] - from[axis];
    apply();
  }

  const pointOf = ({ clientX: x, clientY: y }) => ({ x, y });
  const distance = ([a, b]) => Math.hypot(a.x - b.x, a.y - b.y);
  const middle = ([a, b]) => ({ x: (a.x + b.x) / 2, y: (a.y + b.y) / 2 });

  area.addEventListener("wheel", (event) => { event.preventDefault(); to(state.scale * (event.deltaY < 0 ? 1.2 : 1 / 1.2), pointOf(event)); }, { passive: false });
  area.addEventListener("dblclick", (event) => { if (!event.target.closest("input")) to(state.scale > 1 ? 1 : 3, pointOf(event)); });
  area.addEventListener("pointerdown", (event) => {
    if (event.target.closest("button, input")) return;
    pointers.set(event.pointerId, pointOf(event));
    if (pointers.size === 2) pinch = { distance: distance([...pointers.values()]), scale: state.scale, middle: middle([...pointers.values()]) };
  });
  area.addEventListener("pointermove", (event) => {
    const before = pointers.get(event.pointerId);
    if (!before) return;
    pointers.set(event.pointerId, pointOf(event));
    const fingers = [...pointers.values()];
    if (pinch && pointers.size === 2) {
      const next = middle(fingers);
      to((pinch.scale * distance(fingers)) / pinch.distance, pinch.middle);
      move(pinch.middle, next);
      pinch.middle = next;
    } else if (state.scale > 1) move(before, pointOf(event));
  });
  for (const name of ["pointerup", "pointercancel", "pointerleave"]) area.addEventListener(name, ({ pointerId }) => { pointers.delete(pointerId); if (pointers.size < 2) pinch = null; });
  return { by: (factor) => to(state.scale * factor), reset: () => { Object.assign(state, { scale: 1, x: 0, y: 0 }); apply(); }, get scale() { return state.scale; } };
}
