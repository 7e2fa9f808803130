// The style as a row of pictures, where the model has a picture of each; otherwise it stays a list.
import { $, el, icon } from "./dom.js";
import { form } from "./form.js";
import { t } from "./i18n.js";
import { standIn } from "./stand-in.js";

function look(value, url) {
  const input = el("input", { type: "radio", name: "look", value, className: "sr" });
  return el("label", {}, input, url ? el("img", { src: url, alt: "", width: 48, height: 48 }) : el("span", { className: "any" }, icon("vary")), value ? el("span", { lang: "en" }, value) : el("span", {}, t("any")));
}

function looksOf({ styles, styles_by_seed: bySeed, style_pictures: pictures }) {
  const looks = styles.filter((style) => pictures[style]).map((style) => look(style, pictures[style]));
  return bySeed.length && looks.length ? [look("", null), ...looks] : looks;
}

export const setUpStylePictures = () => standIn($(".looks", form), "style", looksOf);
