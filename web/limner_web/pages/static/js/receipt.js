// The settings of a picture, and the receipt that says how it was made.
import { getJson } from "./api.js";
import { button, el } from "./dom.js";
import { dateTime, t } from "./i18n.js";
import { size } from "./words.js";

const row = (name, value) => (value === null || value === undefined || value === "" ? [] : [el("dt", {}, name), el("dd", {}, value)]);

export async function showFacts(panel, { job, image }, onReplay) {
  const settings = el("dl", {},
    row(t("Prompt"), job.prompt), row(t("Exclude"), job.negative_prompt), row(t("Model"), job.model), row(t("Style"), image.style),
    row(t("Size"), `${image.width} × ${image.height}, ${size(image.bytes)}`), row(t("Seed"), String(image.seed)), row(t("Steps"), String(job.steps)), row(t("Guidance"), String(job.guidance)),
    row(t("Drawn"), dateTime(job.finished_at)), row(t("Shows"), image.alt_text));
  const tags = [...new Set([...(job.tags || []), ...(image.tags || [])])];
  settings.append(...row(t("Tags"), tags.join(", ")));
  const receipt = el("div", {}, el("p", { className: "quiet" }, t("Loading the receipt …")));
  const again = button(t("Draw it again, byte for byte"), () => onReplay(job), "small", "again");
  panel.replaceChildren(el("h2", {}, t("Settings")), settings, el("h2", {}, t("Receipt")), receipt, again);
  panel.dataset.image = image.id;
  try {
    const { items } = await getJson(`jobs/${job.id}/receipts`);
    if (panel.dataset.image !== image.id) return;
    const found = items.find((each) => each.image === image.id);
    receipt.replaceChildren(el("dl", {}, row("SHA-256", found.sha256), ...Object.entries(found.receipt).map(([name, value]) => row(name.replaceAll("_", " "), shown(value)))));
  } catch (error) {
    receipt.replaceChildren(el("p", { className: "quiet" }, error.message));
  }
}

const shown = (value) => (value !== null && typeof value === "object" ? el("pre", {}, JSON.stringify(value)) : value === null ? null : String(value));
