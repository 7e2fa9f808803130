// The settings of a picture, and the receipt that says how it was made.
import { copyText } from "./actions.js";
import { getJson } from "./api.js";
import { button, el, icon } from "./dom.js";
import { dateTime, number, t, tn } from "./i18n.js";
import { modelsLink, shortcomings } from "./shortcomings.js";
import { tagsRow } from "./tag-chips.js";
import { size, thingWords } from "./words.js";

const DIGEST = /^[0-9a-f]{40,64}$/;
const NAMES = {
  drawn_as: t("Drawn as"), scene: t("Put together from"), style: t("Style"), seed: t("Seed"), weights: t("Weights"), text_encoder: t("Text encoder"), names: t("Known names"), pipeline: t("Pipeline"),
  source: t("Source"), sampler: t("Sampler"), composition: t("Composition"), buckets: t("Passes"), apart: t("Run one by one"), device: t("Device"), dtype: t("Numbers"), torch: "PyTorch", diffusers: "Diffusers",
  safety: t("Safety"), shared_with: t("Taken from job"), c2pa: t("Signed"),
};
const ORDER = Object.keys(NAMES);
const SETTINGS = ["seed", "style", "recognition", "read_chars"]; // which stand above the receipt

const row = (name, value) => (value === null || value === undefined || value === "" ? [] : [el("dt", {}, name), el("dd", {}, value)]);

export async function showFacts(panel, { job, image }, { onReplay, onTags }) {
  const settings = el("dl", {},
    row(t("Prompt"), job.prompt), row(t("Exclude"), job.negative_prompt), row(t("Model"), job.model), row(t("Style"), image.style),
    row(t("Size"), `${image.width} × ${image.height}, ${size(image.bytes)}`), row(t("Seed"), String(image.seed)), row(t("Steps"), String(job.steps)), row(t("Guidance"), String(job.guidance)),
    row(t("Drawn"), dateTime(job.finished_at)), row(t("Shows"), image.alt_text));
  const missing = shortcomings(job, image);
  const note = missing.length > 0 && el("div", { className: "note" }, icon("warn"), el("p", {}, missing.join(" "), " ", modelsLink(job)));
  settings.append(...tagsRow({ job, image }, onTags));
  const receipt = el("div", { className: "receipt" }, el("p", { className: "quiet" }, t("Loading the receipt …")));
  const again = button(t("Draw it again, byte for byte"), () => onReplay(job), "small", "again");
  panel.replaceChildren(...(note ? [note] : []), el("h2", {}, t("Settings")), settings, el("h2", {}, t("Receipt")), receipt, again);
  panel.dataset.image = image.id;
  try {
    const { items } = await getJson(`jobs/${job.id}/receipts`);
    if (panel.dataset.image !== image.id) return;
    const found = items.find((each) => each.image === image.id);
    const copy = navigator.clipboard && button(t("Copy the whole receipt"), () => copyText(JSON.stringify(found, null, 2)), "small", "copy");
    receipt.replaceChildren(el("p", { className: "quiet" }, t("How the picture was made: enough to make the same bytes again.")), el("dl", {}, row(t("File"), digest(found.sha256)), ...rows(found.receipt)), copy || "");
  } catch (error) {
    receipt.replaceChildren(el("p", { className: "quiet" }, error.message));
  }
}

const rows = (receipt) => Object.entries(receipt).filter(([name]) => !SETTINGS.includes(name)).sort(([a], [b]) => place(a) - place(b)).map(([name, value]) => row(NAMES[name] ?? name.replaceAll("_", " "), shown(name, value)));
const place = (name) => (ORDER.includes(name) ? ORDER.indexOf(name) : ORDER.length);

// The beginning of a SHA-256, which says enough to a reader; the whole one is its tooltip.
const digest = (text) => el("code", { title: text }, `SHA-256 ${text.slice(0, 12)}…`);
const lines = (items) => items.map((item) => el("div", {}, item));

function shown(name, value) {
  if (name === "buckets") return el("div", {}, lines(value.map(([most, n]) => tn("%(n)s pass, pictures at once: %(most)s", "%(n)s passes, pictures at once: %(most)s", n, { most: number(most) }))));
  if (name === "scene") return value.objects.map(thingWords).join(", ");
  if (name === "composition") return t("rules of version %(n)s", { n: number(value) });
  if (Array.isArray(value)) return value.join(", ");
  if (value !== null && typeof value === "object") return el("div", {}, Object.entries(value).flatMap(([part, each]) => lines([part.replaceAll("_", " "), shown("", each)])));
  return DIGEST.test(value) ? digest(value) : value === null ? null : String(value);
}
