// Zoom and pan of one picture: wheel, double click, buttons, drag, pinch.
const MOST = 8;

export function makeZoom(area, target) {
  const state = { scale: 1, x: 0, y: 0 };
  const pointers = new Map();
  let pinch = null;

  function apply() {
    const limit = (size) => (size * (state.scale - 1)) / 2;
    state.x = Math.min(limit(area.clientWidth), Math.max(-limit(area.clientWidth), state.x));
    state.y = Math.min(limit(area.clientHeight), Math.max(-limit(area.clientHeight), state.y));
    target.style.transform = state.scale === 1 ? "" : `translate(${state.x}px, ${state.y}px) scale(${state.scale})`;
    area.classList.toggle("zoomed", state.scale > 1);
  }
  function to(scale) {
    const next = Math.min(MOST, Math.max(1, scale));
    state.x *= next / state.scale;
    state.y *= next / state.scale;
    state.scale = next;
    apply();
  }
  const distance = () => { const [a, b] = [...pointers.values()]; return Math.hypot(a.x - b.x, a.y - b.y); };

  area.addEventListener("wheel", (event) => { event.preventDefault(); to(state.scale * (event.deltaY < 0 ? 1.2 : 1 / 1.2)); }, { passive: false });
  area.addEventListener("dblclick", () => to(state.scale > 1 ? 1 : 3));
  area.addEventListener("pointerdown", (event) => {
    if (event.target.closest("button, input")) return;
    pointers.set(event.pointerId, { x: event.clientX, y: event.clientY });
    if (pointers.size === 2) pinch = { distance: distance(), scale: state.scale };
  });
  area.addEventListener("pointermove", (event) => {
    const before = pointers.get(event.pointerId);
    if (!before) return;
    pointers.set(event.pointerId, { x: event.clientX, y: event.clientY });
    if (pinch && pointers.size === 2) to((pinch.scale * distance()) / pinch.distance);
    else if (state.scale > 1) { state.x += event.clientX - before.x; state.y += event.clientY - before.y; apply(); }
  });
  for (const name of ["pointerup", "pointercancel", "pointerleave"]) area.addEventListener(name, ({ pointerId }) => { pointers.delete(pointerId); if (pointers.size < 2) pinch = null; });
  return { by: (factor) => to(state.scale * factor), reset: () => { Object.assign(state, { scale: 1, x: 0, y: 0 }); apply(); }, get scale() { return state.scale; } };
}
