// The boards of the gallery: every tag is one, with its newest picture.
import { getJson, thumbnailUrl } from "./api.js";
import { $, el, icon } from "./dom.js";
import { number, t } from "./i18n.js";

const TAGS = el("datalist", { id: "tags" }); // what fields for a tag suggest
document.body.append(TAGS);

function board(name, text, cover, isChosen, choose) {
  const picture = cover ? el("img", { src: thumbnailUrl(cover, 256), alt: "", loading: "lazy", decoding: "async" }) : icon(name ? "tag" : "image");
  const button = el("button", { type: "button", onclick: () => choose(name) }, el("span", { className: "cover" }, picture), el("b", {}, name || t("All pictures")), el("span", { className: "quiet" }, text));
  button.setAttribute("aria-pressed", isChosen);
  return el("li", {}, button);
}

// Shows the boards, of which `chosen` is open; `choose(tag)` opens one, or all pictures for an empty tag.
export async function showBoards(chosen, choose) {
  const { items } = await getJson("tags");
  TAGS.replaceChildren(...items.map(({ tag }) => new Option(tag, tag)));
  $("#boards").hidden = !items.length;
  const focused = $("#boards").contains(document.activeElement) ? document.activeElement.querySelector("b")?.textContent : null;
  $("#boards ul").replaceChildren(
    board("", "", null, !chosen, choose),
    ...items.map(({ tag, targets, cover }) => board(tag, number(targets), cover, tag === chosen, choose)),
  );
  if (focused) [...document.querySelectorAll("#boards button")].find((each) => each.querySelector("b").textContent === focused)?.focus();
}
