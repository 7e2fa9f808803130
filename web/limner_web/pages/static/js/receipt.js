// The settings of a picture, and the receipt that says how it was made.
import { getJson } from "./api.js";
import { button, el } from "./dom.js";
import { size } from "./words.js";

const row = (name, value) => (value === null || value === undefined || value === "" ? [] : [el("dt", {}, name), el("dd", {}, value)]);

export async function showFacts(panel, { job, image }, onReplay) {
  const settings = el("dl", {},
    row("Prompt", job.prompt), row("Exclude", job.negative_prompt), row("Model", job.model), row("Style", image.style),
    row("Size", `${image.width} × ${image.height}, ${size(image.bytes)}`), row("Seed", String(image.seed)), row("Steps", String(job.steps)), row("Guidance", String(job.guidance)),
    row("Drawn", new Date(job.finished_at).toLocaleString()), row("Shows", image.alt_text));
  const tags = [...new Set([...(job.tags || []), ...(image.tags || [])])];
  settings.append(...row("Tags", tags.join(", ")));
  const receipt = el("div", {}, el("p", { className: "quiet" }, "Loading the receipt …"));
  const again = button("Draw it again, byte for byte", () => onReplay(job), "small", "again");
  panel.replaceChildren(el("h2", {}, "Settings"), settings, el("h2", {}, "Receipt"), receipt, again);
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
