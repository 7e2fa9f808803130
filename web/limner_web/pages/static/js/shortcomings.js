// What a picture does not show of its prompt, as the worker recorded it: nothing is guessed here.
import { tell } from "./dialog.js";
import { el } from "./dom.js";
import { number, t } from "./i18n.js";
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

const namesIn = (images, field) => [...new Set(images.flatMap(({ recognition }) => recognition?.[field] ?? []))];

// What the evaluator does not recognise in some of a job's pictures.
function unclear(images) {
  return namesIn(images, "unclear").map((things) => {
    const count = images.filter(({ recognition }) => recognition?.unclear.includes(things)).length;
    if (count === images.length) return t("“%(things)s” may be hard to recognise.", { things });
    return t("“%(things)s” may be hard to recognise in %(count)s of %(n)s pictures.", { things, count, n: images.length });
  });
}

function notShown(image) {
  if (image.read_chars) return [t("Only the first %(n)s characters of the prompt were read.", { n: number(image.read_chars) })];
  if (image.scene) return ofScene(image.scene);
  const thing = drawnAs({ images: [image] });
  return thing ? [asName(thing)] : [];
}

// The sentences about one picture; empty if it shows all that was asked for.
export const shortcomings = (job, image = job.images[0]) => (image ? [...notShown(image), ...unclear([image])] : []);

// The same before anything is drawn, of what a description was understood as.
export const expected = ({ scene, drawn_as: thing }) => (scene ? ofScene(scene) : thing ? [asName(thing)] : []);

export const shortLabel = (isPart) => (isPart ? t("Not all of it") : t("Nearest match"));

// Whether its text was too long: other words do not help.
const isCut = (job) => job.images.some((image) => image.read_chars);

// Whether something is missing, not only shown as something near.
const isPartial = (job) => isCut(job) || job.images.some(({ scene }) => scene?.left_out.length);
const isOther = (job) => job.images.some((image) => notShown(image).length);

export const labelOf = (job) => (isOther(job) ? shortLabel(isPartial(job)) : t("Hard to recognise"));

export const modelsLink = (job) => el("a", { href: `/models#${encodeURIComponent(job.model)}` }, t("What it can draw"));

// Other prompts that may be drawn better; the same one in another style may be, too.
function offers(job, run) {
  const styles = job.style && namesIn(job.images, "unclear").length ? [{ text: t("The same in any style"), other: { style: null } }] : [];
  const names = namesIn(job.images, "nearer").slice(0, FEW).map((prompt) => ({ text: prompt, other: { prompt } }));
  return [...names, ...styles].map(({ text, other }) => el("button", { type: "button", className: "chip", onclick: () => run({ ...job, ...other }) }, text));
}

// Says what is missing, and what can be done about it.
export function tellShortcomings(job, { text, run }) {
  const close = (other) => { dialog.close(); run(other); };
  const missing = [...new Set(job.images.flatMap(notShown)), ...unclear(job.images)];
  const [better, offered] = [offers(job, close), t("These may work better:")];
  const title = isPartial(job) ? t("This model could not draw all of it") : isOther(job) ? t("Drawn as near as the model can") : t("This model may not draw this well");
  const dialog = tell(title, el("ul", { className: "stack" }, missing.map((each) => el("li", {}, each))),
    better.length > 0 && el("div", { className: "stack", role: "group", ariaLabel: offered }, el("p", {}, offered), el("div", { className: "chips" }, better)),
    !isCut(job) && el("p", { className: "quiet" }, t("Other words for it may be known. "), modelsLink(job)), el("div", { className: "buttons" }, el("button", { type: "button", className: "btn primary", onclick: () => close(job) }, text)));
}
