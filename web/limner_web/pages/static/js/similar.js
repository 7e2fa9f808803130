// Shows the pictures that look most like one, by what the evaluator saw in them.
import { getJson, thumbnailUrl } from "./api.js";
import { tell } from "./dialog.js";
import { el } from "./dom.js";
import { t } from "./i18n.js";

const MOST = 24;

const link = (image) => el("li", {}, el("a", { href: `/jobs/${image.job}` }, el("img", { src: thumbnailUrl(image, 256), alt: image.alt_text || t("picture"), decoding: "async" })));

export async function moreLike(image) {
  try {
    const { items } = await getJson(`images?similar_to=${image.id}&limit=${MOST}`);
    tell(t("More like this"), items.length ? el("ul", { className: "alike" }, items.map(link)) : el("p", {}, t("No pictures yet")));
  } catch (error) {
    if (error.status !== 422) throw error;
    tell(t("More like this"), el("p", {}, t("This picture cannot be compared with others.")));
  }
}
