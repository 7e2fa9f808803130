// The boards of the gallery: every tag is one, with its newest picture.
import { getJson, thumbnailUrl } from "./api.js";
import { $, el, icon } from "./dom.js";
import { acceptPictures } from "./drag.js";
import { number, t } from "./i18n.js";

const TAGS = el("datalist", { id: "tags" }); // what fields for a tag suggest
document.body.append(TAGS);

function board(name, text, cover, isChosen, { choose, take }) {
  const picture = cover ? el("img", { src: thumbnailUrl(cover, 256), alt: "", loading: "lazy", decoding: "async" }) : icon(name ? "tag" : "image");
  const button = el("button", { type: "button", onclick: () => choose(name) }, el("span", { className: "cover" }, picture), el("b", {}, name || t("All pictures")), el("span", { className: "quiet" }, text));
  button.setAttribute("aria-pressed", isChosen);
  if (name) acceptPictures(button, (ids) => take(ids, name));
  return el("li", {}, button);
}

// Shown while pictures are dragged.
function newBoard(take) {
  const target = el("div", { className: "new-board" }, el("span", { className: "cover" }, icon("plus")), el("b", {}, t("New board …")));
  acceptPictures(target, (ids) => take(ids, null));
  return el("li", { className: "only-dragging", ariaHidden: "true" }, target);
}

// Shows the boards, of which `chosen` is open. `choose(tag)` opens one, or all pictures for an empty tag; `take(ids, tag)`
// puts pictures on one, or on a new one for null.
export async function showBoards(chosen, actions) {
  const { items } = await getJson("tags");
  TAGS.replaceChildren(...items.map(({ tag }) => new Option(tag, tag)));
  $("#boards").classList.toggle("none", !items.length);
  $("#boards").hidden = false;
  const focused = $("#boards").contains(document.activeElement) ? document.activeElement.querySelector("b")?.textContent : null;
  $("#boards ul").replaceChildren(
    board("", "", null, !chosen, actions),
    ...items.map(({ tag, targets, cover }) => board(tag, number(targets), cover, tag === chosen, actions)),
    newBoard(actions.take),
  );
  if (focused) [...document.querySelectorAll("#boards button")].find((each) => each.querySelector("b").textContent === focused)?.focus();
}
