// The style as a row of pictures, where the model has a picture of each; otherwise it stays a list.
import { $, el, icon } from "./dom.js";
import { form, modelChosen } from "./form.js";
import { t } from "./i18n.js";

const row = form && $(".looks", form);
const list = form?.elements.style;
let shownFor = null; // the name of the model

function look(value, url) {
  const input = el("input", { type: "radio", name: "look", value, className: "sr" });
  return el("label", {}, input, url ? el("img", { src: url, alt: "", width: 48, height: 48 }) : el("span", { className: "any" }, icon("vary")), value ? el("span", { lang: "en" }, value) : el("span", {}, t("any")));
}

function show() {
  const { name, styles, styles_by_seed: bySeed, style_pictures: pictures } = modelChosen();
  if (name !== shownFor) {
    shownFor = name;
    const looks = styles.filter((style) => pictures[style]).map((style) => look(style, pictures[style]));
    $("div", row).replaceChildren(...(bySeed.length && looks.length ? [look("", null)] : []), ...looks);
    row.hidden = !looks.length;
  }
  if (!row.hidden) list.closest("label").hidden = true;
  for (const input of row.querySelectorAll("input")) input.checked = input.value === list.value;
}

export function setUpStylePictures() {
  row.dataset.standsFor = "style";
  row.addEventListener("change", ({ target }) => {
    list.value = target.value;
    list.dispatchEvent(new Event("input", { bubbles: true }));
  });
  form.addEventListener("settings", show);
  show();
}
