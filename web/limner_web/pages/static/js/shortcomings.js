// What a picture does not show of its prompt, as the worker recorded it: nothing is guessed here.
import { tell } from "./dialog.js";
import { el } from "./dom.js";
import { t } from "./i18n.js";
import { drawnAs } from "./words.js";

const FEW = 3; // names in one sentence

const asName = (thing) => t("Drawn as “%(thing)s”, the nearest name that the model knows.", { thing });

function ofScene({ left_out: leftOut, objects }) {
  const instead = objects.filter(({ exact }) => !exact).slice(0, FEW);
  return [
    leftOut.length > 0 && t("Not shown: %(things)s.", { things: leftOut.join(", ") }),
    ...instead.map(({ said, name }) => t("“%(said)s” is shown as “%(name)s”, the nearest that the model knows.", { said, name })),
  ].filter(Boolean);
}

// The sentences about one picture; empty if it shows all that was asked for.
export function shortcomings(job, image = job.images[0]) {
  if (!image) return [];
  if (image.scene) return ofScene(image.scene);
  const thing = drawnAs({ ...job, images: [image] });
  return thing ? [asName(thing)] : [];
}

// The same before anything is drawn, of what a description was understood as.
export const expected = ({ scene, drawn_as: thing }) => (scene ? ofScene(scene) : thing ? [asName(thing)] : []);

export const shortLabel = (isPart) => (isPart ? t("Not all of it") : t("Nearest match"));

// Whether something is missing, not only shown as something near.
export const isPartial = (job) => job.images.some(({ scene }) => scene?.left_out.length);

export const modelsLink = (job) => el("a", { href: `/models#${encodeURIComponent(job.model)}` }, t("What it can draw"));

// Says what is missing, and what can be done about it.
export function tellShortcomings(job, { text, run }) {
  const reword = el("button", { type: "button", className: "btn primary", onclick: () => { dialog.close(); run(job); } }, text);
  const missing = [...new Set(job.images.flatMap((image) => shortcomings(job, image)))];
  const dialog = tell(isPartial(job) ? t("This model could not draw all of it") : t("Drawn as near as the model can"), el("ul", { className: "stack" }, missing.map((each) => el("li", {}, each))), el("p", { className: "quiet" }, t("Other words for it may be known. "), modelsLink(job)), el("div", { className: "buttons" }, reword));
}
