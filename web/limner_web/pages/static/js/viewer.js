// The viewer: one picture in full, its neighbours, its settings and receipt, and a second picture to compare it with.
import { menuOf, replay } from "./actions.js";
import { pictureUrl, thumbnailUrl } from "./api.js";
import { makeCompare } from "./compare.js";
import { $, el } from "./dom.js";
import { number, t } from "./i18n.js";
import { addShortcuts } from "./keymap.js";
import { toggleLove } from "./marking.js";
import { openMenu } from "./menu.js";
import { isLoved } from "./organise.js";
import { showFacts } from "./receipt.js";
import { share } from "./share.js";
import { moreLike } from "./similar.js";
import { attempt } from "./toast.js";
import { makeZoom } from "./zoom.js";

const SWIPE = 50; // pixels
const STRIP = 24; // thumbnails on each side

// `pictures()` lists {job, image} in order; `more()` loads further ones at its end; `actions` are the page's own,
// {icon, text, run(picture)}; `organise(picture)` gives further entries of the menu, and `onMark(picture)` follows a
// change of its tags in the settings, or of its mark as a favourite.
export function setUpViewer({ pictures, actions = [], organise = () => [], more = async () => {}, onMark = () => {} }) {
  const dialog = $("#viewer");
  const find = (selector) => $(selector, dialog);
  const view = find(".view");
  const zoom = makeZoom(view);
  const compare = makeCompare(dialog);
  let current = null; // id of the picture shown
  let place = 0; // its index
  const thumbs = new Map(); // image id -> the thumbnails of the strip, kept so that none is loaded twice

  const list = () => pictures();
  const at = () => list().findIndex(({ image }) => image.id === current);
  const picture = () => list()[at()];

  function show(id) {
    current = id;
    if (!dialog.open) { dialog.showModal(); view.focus(); }
    render();
  }

  function render() {
    const all = list();
    const index = at();
    if (index < 0) { // it was deleted: go on with the one that took its place
      if (!all.length) { dialog.close(); return; }
      show(all[Math.min(place, all.length - 1)].image.id);
      return;
    }
    place = index;
    const { job, image } = all[index];
    zoom.reset();
    Object.assign(find(".one img"), { src: pictureUrl(image), alt: image.alt_text || job.prompt });
    find("footer .prompt").textContent = job.prompt;
    compare.setFirst(all[index]);
    drawPlace(all, index);
    if (!find(".facts-panel").hidden) facts(all[index]);
    if (index > all.length - 5) more().then(refresh);
  }

  // After the list has changed: the picture shown may be gone.
  function refresh() {
    if (!dialog.open) return;
    if (at() < 0) render();
    else { place = at(); drawPlace(list(), place); }
  }

  function run(name, button) {
    if (at() < 0 && name !== "close") render();
    else commands[name](button);
  }

  function drawPlace(all, index) {
    find(".place").textContent = t("%(place)s of %(n)s", { place: number(index + 1), n: number(all.length) });
    find("[data-do=love]").setAttribute("aria-pressed", isLoved(all[index].job, all[index].image));
    find("[data-do=previous]").disabled = index === 0;
    find("[data-do=next]").disabled = index === all.length - 1;
    drawStrip(all, index);
  }

  function drawStrip(all, index) {
    const start = Math.max(0, index - STRIP);
    const near = all.slice(start, index + STRIP + 1);
    const known = new Set(near.map(({ image }) => image.id));
    for (const id of thumbs.keys()) if (!known.has(id)) thumbs.delete(id);
    const items = near.map((each) => {
      const item = thumbs.get(each.image.id) ?? thumbOf(each);
      thumbs.set(each.image.id, item);
      $("button", item).onclick = () => pick(each);
      $("button", item).setAttribute("aria-current", each.image.id === current ? "true" : compare.isSecond(each.image.id) ? "step" : "false");
      return item;
    });
    const strip = find(".strip");
    const focused = strip.contains(document.activeElement) ? document.activeElement : null; // which loses the focus when it moves
    if (items.length !== strip.childElementCount || items.some((item, place) => item !== strip.children[place])) strip.replaceChildren(...items);
    if (focused) (focused.isConnected ? focused : view).focus({ preventScroll: true });
    find(".strip [aria-current=true]")?.scrollIntoView({ block: "nearest", inline: "center" });
  }

  const thumbOf = ({ job, image }) => el("li", {}, el("button", { type: "button", ariaLabel: t("%(prompt)s, seed %(seed)s", { prompt: job.prompt, seed: image.seed }) }, el("img", { src: thumbnailUrl(image, 128), alt: "", loading: "lazy" })));

  function pick(each) {
    if (compare.isOn) { compare.setSecond(each); drawStrip(list(), at()); } else show(each.image.id);
  }

  async function step(by) {
    if (at() + by >= list().length) await more(); // the next ones are on their way, or there are none
    const next = list()[at() + by];
    if (next) show(next.image.id);
  }

  function toggleCompare() {
    const all = list();
    const second = all[at() + 1] || all[at() - 1] || all[at()];
    compare.toggle(all[at()], second);
    render();
  }

  // With its last tag, a button goes that had the focus.
  const facts = (shown) => showFacts(find(".facts-panel"), shown, { onReplay: replay, onTags: () => { if (document.activeElement === document.body) view.focus(); onMark(shown); } });

  async function toggleLoved() {
    const shown = picture();
    await toggleLove([shown]);
    onMark(shown);
    refresh();
  }

  function toggleFacts() {
    const panel = find(".facts-panel");
    panel.hidden = !panel.hidden;
    find("[data-do=info]").setAttribute("aria-pressed", !panel.hidden);
    if (!panel.hidden) facts(picture());
  }

  const commands = {
    previous: () => step(-1), next: () => step(1), in: () => zoom.by(1.6), out: () => zoom.by(1 / 1.6), info: toggleFacts, compare: toggleCompare, love: () => attempt(toggleLoved),
    side: () => compare.setMode("side"), slider: () => compare.setMode("slider"), close: () => dialog.close(), share: () => share(picture().image),
    full: () => (document.fullscreenElement ? document.exitFullscreen() : document.documentElement.requestFullscreen()).catch(() => {}), // a dialog cannot
    more: async (button) => { const shown = picture(); openMenu(button, [...actions.map(({ run, ...rest }) => ({ group: "make", ...rest, onClick: () => run(shown) })), { group: "make", icon: "grid", text: t("More like this"), onClick: () => attempt(() => moreLike(shown.image)) }, ...await menuOf(shown.job, shown.image), ...organise(shown)]); },
  };
  const keys = { ArrowLeft: "previous", ArrowRight: "next", "+": "in", "=": "in", "-": "out", i: "info", c: "compare", l: "love", f: "full", s: "share" };

  dialog.addEventListener("click", ({ target }) => {
    const button = target.closest("[data-do]");
    if (button) run(button.dataset.do, button);
  });
  dialog.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.target.closest(".menu") || (event.target.type === "range" && event.key.startsWith("Arrow"))) return;
    const name = keys[event.key];
    if (name) { event.preventDefault(); run(name); }
  });
  dialog.addEventListener("close", () => { if (document.fullscreenElement) document.exitFullscreen(); compare.off(); });
  setUpSwipe(view, zoom, step);
  listKeys();
  return { show, refresh, update() { if (dialog.open) render(); }, close: () => dialog.close(), compare(id, second) { show(id); compare.toggle(picture(), second); render(); } };
}

function listKeys() {
  const group = t("In the viewer");
  addShortcuts(
    { group, keys: ["ArrowLeft", "ArrowRight"], text: t("Previous and next picture") }, { group, keys: ["+", "-"], text: t("Zoom in and out") },
    { group, keys: ["C"], text: t("Compare") }, { group, keys: ["L"], text: t("Favourite") }, { group, keys: ["S"], text: t("Share a link") }, { group, keys: ["I"], text: t("Settings and receipt") },
    { group, keys: ["F"], text: t("Full screen") }, { group, keys: ["Escape"], text: t("Close") },
  );
}

function setUpSwipe(view, zoom, step) {
  let start = null;
  view.addEventListener("touchstart", ({ touches }) => { start = touches.length === 1 && zoom.scale === 1 ? { x: touches[0].clientX, y: touches[0].clientY } : null; }, { passive: true });
  view.addEventListener("touchend", ({ changedTouches: [touch], target }) => {
    if (!start || target.closest("input")) return;
    const [x, y] = [touch.clientX - start.x, touch.clientY - start.y];
    start = null;
    if (Math.abs(x) > SWIPE && Math.abs(x) > 2 * Math.abs(y)) step(x < 0 ? 1 : -1);
  }, { passive: true });
}
