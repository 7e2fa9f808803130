// The boards of the gallery: every tag is one, with its newest picture.
import { getJson, thumbnailUrl } from "./api.js";
import { openBoardMenu } from "./board-menu.js";
import { $, el, icon } from "./dom.js";
import { acceptPictures } from "./drag.js";
import { number, t, tn } from "./i18n.js";

const TAGS = el("datalist", { id: "tags" }); // what fields for a tag suggest
document.body.append(TAGS);

const MOST_SHOWN = 8;
const MOST_COUNTED = 1000; // jobs and pictures with a tag; the service counts the pictures of no others
let newest = []; // pictures: the cover of the board of all
let asked = 0;

const pictureOf = (image, side) => el("img", { src: thumbnailUrl(image, side), alt: "", loading: "lazy", decoding: "async" });

function board(name, text, cover, isChosen, { choose, take }) {
  const picture = name ? cover ? pictureOf(cover, 256) : icon("tag") : newest.map((image) => pictureOf(image, 128));
  const button = el("button", { type: "button", onclick: () => choose(name) }, el("span", { className: `cover${name ? "" : " sheet"}` }, picture), el("b", {}, name || t("All pictures")), el("span", { className: "quiet" }, text));
  button.setAttribute("aria-pressed", isChosen);
  if (name) acceptPictures(button, (ids) => take(ids, name));
  const more = name && isChosen && el("button", { type: "button", className: "icon-btn more", ariaLabel: t("More actions for the board %(tag)s", { tag: name }), ariaHasPopup: "menu", onclick: () => openBoardMenu(more, name, choose) }, icon("more"));
  return el("li", {}, button, more || null);
}

const size = ({ images, targets }) => tn("%(n)s picture", "%(n)s pictures", images, targets > MOST_COUNTED ? { n: `${number(images)}+` } : {});

// Shown while pictures are dragged.
function newBoard(take) {
  const target = el("div", { className: "new-board" }, el("span", { className: "cover" }, icon("plus")), el("b", {}, t("New board …")));
  acceptPictures(target, (ids) => take(ids, null));
  return el("li", { className: "only-dragging", ariaHidden: "true" }, target);
}

// The newest of all pictures are now these.
export function coverAll(images) {
  const next = images.slice(0, MOST_SHOWN);
  if (next.map(({ id }) => id).join() === newest.map(({ id }) => id).join()) return;
  newest = next;
  $("#boards .sheet")?.replaceChildren(...newest.map((image) => pictureOf(image, 128)));
}

// The boards as they are without these pictures; one that loses its last picture goes.
function without(pictures, items) {
  return items.flatMap((each) => {
    const gone = pictures.filter(({ job, image }) => [...job.tags, ...image.tags].includes(each.tag));
    const cover = gone.some(({ image }) => each.cover?.url === image.url) ? null : each.cover;
    return gone.length && gone.length >= each.images ? [] : { ...each, images: each.images - gone.length, cover };
  });
}

const newestOfAll = async () => (await getJson(`jobs?status=succeeded&limit=${MOST_SHOWN}`)).items.flatMap(({ images }) => images);

// Shows the boards, of which `chosen` is open. `choose(tag)` opens one, or all pictures for an empty tag; `take(ids, tag)`
// puts pictures on one, or on a new one for null; `isFiltered` says that the page does not show all pictures; `leaving()`
// are the pictures {job, image} whose deletion can still be undone.
export async function showBoards(chosen, actions, isFiltered, leaving) {
  const turn = ++asked;
  const items = without(leaving(), (await getJson("tags")).items);
  if (items.length && isFiltered && !newest.length) coverAll(await newestOfAll());
  if (turn !== asked) return; // a later answer has been shown
  TAGS.replaceChildren(...items.map(({ tag }) => new Option(tag, tag)));
  $("#boards").classList.toggle("none", !items.length);
  $("#boards").hidden = false;
  const focused = $("#boards").contains(document.activeElement) ? document.activeElement.querySelector("b")?.textContent : null;
  $("#boards ul").replaceChildren(
    board("", "", null, !chosen, actions),
    ...items.map((each) => board(each.tag, size(each), each.cover, each.tag === chosen, actions)),
    newBoard(actions.take),
  );
  if (focused) [...document.querySelectorAll("#boards button")].find((each) => each.querySelector("b")?.textContent === focused)?.focus();
}
