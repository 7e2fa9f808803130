// The grid page: plans a grid, draws it as one bulk, shows it as it comes and saves it as one picture.
import { again, cancel, sameRequestOf, submit, vary } from "./actions.js";
import { getJson, make, send, thumbnailUrl } from "./api.js";
import { bulkEstimate, kindsOf } from "./cost.js";
import { $, button, el, scrolling } from "./dom.js";
import { drawGrid } from "./grid-picture.js";
import { anyStarts, changeSeed, modelNamed, NAMES, readPlan, setUpPlan, startPlanFrom } from "./grid-plan.js";
import { number, t, tn } from "./i18n.js";
import { jobs, put, watch } from "./jobs.js";
import { follow } from "./live.js";
import { morph } from "./morph.js";
import { attempt, toast } from "./toast.js";
import { setUpViewer } from "./viewer.js";
import { ended, status } from "./words.js";
import { save } from "./zip.js";

const PAGE = 100;
const AGAIN_IN = "again_in"; // in a job's metadata: the bulk of the grid in which it was tried again
const SHORT = 14; // characters of a label that is not broken
const form = $("#plan");
const drawButton = $("[type=submit]", form);
let bulk = null; // the id of the bulk that is shown
let members = []; // its jobs' ids in reading order

const cells = () => members.map((id) => jobs.get(id)).filter(Boolean);
const viewer = setUpViewer({
  pictures: () => cells().flatMap((job) => job.images.map((image) => ({ job, image }))),
  actions: [
    { icon: "again", text: t("Again, with another seed"), run: ({ job }) => again(job) },
    { icon: "vary", text: t("Variations"), run: ({ job, image }) => vary(job, image) },
    { icon: "remix", text: t("Remix in the studio"), run: ({ job }) => location.assign(`/?remix=${job.id}`) },
    ...(anyStarts ? [{ icon: "image", text: t("Start from this picture"), run: ({ image }) => { viewer.close(); startPlanFrom(image.id); } }] : []),
  ],
});

// --- planning --------------------------------------------------------------------------------------------------------------

const showEstimate = bulkEstimate($("#estimate"), modelNamed);

function showPlan() {
  const { requests } = readPlan();
  showEstimate(kindsOf(requests ?? []));
  drawButton.textContent = requests ? tn("Draw %(n)s picture", "Draw %(n)s pictures", requests.length) : t("Draw");
}

function say(problem) {
  $("#problem").textContent = problem || "";
  $("#problem").hidden = !problem;
}

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  const { problem, requests } = readPlan();
  say(problem);
  if (problem || drawButton.disabled) return;
  drawButton.disabled = true;
  try {
    const body = requests.map((request) => `${JSON.stringify(request)}\n`).join("");
    const made = await make("bulks", body, { type: "application/jsonl" });
    changeSeed();
    history.pushState(null, "", `?bulk=${made.id}`);
    await show(made.id);
    const [plan, sheet] = [$(".plan"), $(".sheet")];
    if (plan.getBoundingClientRect().left === sheet.getBoundingClientRect().left) sheet.scrollIntoView({ behavior: scrolling() }); // it is above the plan
  } catch (error) {
    if (error.status === undefined) throw error;
    say(error.problem?.errors?.[0]?.message || error.message);
  } finally {
    drawButton.disabled = false;
  }
});

// --- showing ---------------------------------------------------------------------------------------------------------------

async function list(filter) {
  const found = [];
  let cursor = null;
  do {
    const page = await getJson(`jobs?${filter}&limit=${PAGE}${cursor ? `&cursor=${cursor}` : ""}`);
    found.push(...page.items.filter(({ metadata }) => metadata.grid));
    cursor = page.next;
  } while (cursor);
  return found;
}

const placeOf = ({ metadata: { grid: { x, y } } }) => JSON.stringify([x, y]);

// The jobs of a grid in reading order: in place of one that was tried again, the newest that was.
async function read(id) {
  const found = await list(`bulk=${id}`);
  const isWhole = found.every((job) => !ended(job) || job.status === "succeeded");
  const again = isWhole ? [] : (await list(`q=${id}`)).filter(({ metadata }) => metadata[AGAIN_IN] === id);
  const newest = new Map(again.reverse().map((job) => [placeOf(job), job]));
  return found.sort((a, b) => a.line - b.line).map((job) => newest.get(placeOf(job)) ?? job);
}

async function tryAgain(job, pressed) {
  pressed.disabled = true; // a second press is not a second picture
  await attempt(async () => {
    const made = await submit({ ...sameRequestOf(job), metadata: { ...job.metadata, [AGAIN_IN]: bulk } });
    members = members.map((id) => (id === job.id ? made.id : id));
    draw();
  });
  pressed.disabled = false;
}

async function show(id) {
  const found = await read(id);
  bulk = id;
  members = []; // so that the grid is drawn once
  found.forEach(put);
  members = found.map((job) => job.id);
  $("#none").hidden = members.length > 0;
  $("#drawn").hidden = !members.length;
  if (members.length) draw();
  if (!members.length) $("#none h2").textContent = t("This is not a grid");
}

// The grid as its jobs say it: the labels of columns and rows in their order, and a job for each pair.
function layout() {
  const grid = { x: "", y: "", columns: [], rows: [], at: new Map() };
  for (const job of cells()) {
    const { x: [x, column], y: [y, row] } = job.metadata.grid;
    Object.assign(grid, { x, y });
    if (!grid.columns.includes(column)) grid.columns.push(column);
    if (!grid.rows.includes(row)) grid.rows.push(row);
    grid.at.set(`${row}\n${column}`, job);
  }
  return grid;
}

function draw() {
  const { x, y, columns, rows, at } = layout();
  const head = el("thead", {}, el("tr", {}, el("td", { className: "corner" }, el("span", {}, NAMES[y]), el("span", {}, NAMES[x])), columns.map((text) => el("th", { scope: "col" }, text))));
  const body = el("tbody", {}, rows.map((row) => el("tr", {}, el("th", { scope: "row", className: row.length < SHORT ? "unbroken" : "" }, row), columns.map((column) => el("td", {}, cell(at.get(`${row}\n${column}`)))))));
  morph($("#grid"), [head, body]);
  viewer.refresh();
  showState();
}

function cell(job) {
  if (!job) return el("div", { className: "grid-cell" });
  const [image] = job.images;
  const label = [job.metadata.grid.x, job.metadata.grid.y].map(([name, value]) => `${NAMES[name]} ${value}`).join(", ");
  if (image) return el("button", { type: "button", className: "grid-cell", id: job.id, ariaLabel: t("Enlarge: %(label)s", { label }), onclick: () => viewer.show(image.id) }, el("img", { src: thumbnailUrl(image, 384), alt: image.alt_text || job.prompt, decoding: "async" }));
  const { said, detail } = status(job);
  const progress = job.status === "running" && job.progress && el("progress", { max: job.progress.total, value: job.progress.done, ariaLabel: t("Progress") });
  return el("div", { className: `grid-cell ${job.status}`, id: job.id, title: detail }, el("span", {}, said), progress, ["failed", "canceled"].includes(job.status) && button(t("Try again"), ({ currentTarget }) => tryAgain(job, currentTarget), "small", "again"));
}

function showState() {
  const all = cells();
  const done = all.filter(ended).length;
  $("#said").textContent = done < all.length ? tn("%(done)s of %(n)s picture drawn", "%(done)s of %(n)s pictures drawn", all.length, { done: number(done) }) : tn("%(n)s picture, drawn as one bulk", "%(n)s pictures, drawn as one bulk", all.length);
  $("#cancel").hidden = done === all.length;
  $("#save").disabled = !all.some(({ images }) => images.length);
}

watch((job, before) => {
  if (!members.includes(job?.id ?? before.id)) return;
  if (!before || !job || before.status !== job.status) { draw(); return; }
  document.getElementById(job.id)?.replaceWith(cell(job));
});

// --- saving ----------------------------------------------------------------------------------------------------------------

async function savePicture() {
  const { x, y, columns, rows, at } = layout();
  const [first] = cells();
  const fixed = ["model", "style", "steps", "guidance", "scheduler", "strength", "seed", "negative_prompt"].filter((name) => name !== x && name !== y && first[name] !== null && first[name] !== "");
  const title = x === "prompt" || y === "prompt" ? `${NAMES[y]} × ${NAMES[x]}` : first.prompt;
  const label = (name, text) => (["prompt", "model", "style", "size", "scheduler"].includes(name) ? text : `${NAMES[name]} ${text}`);
  const blob = await drawGrid({
    title, note: fixed.map((name) => `${NAMES[name]} ${first[name]}`).join(" · "),
    columns: columns.map((text) => label(x, text)), rows: rows.map((text) => label(y, text)),
    cells: rows.map((row) => columns.map((column) => at.get(`${row}\n${column}`)?.images[0] || null)),
  });
  save(blob, `${title.replace(/[^\p{L}\p{N}]+/gu, " ").trim().slice(0, 40)} grid.png`);
}

$("#save").onclick = () => attempt(savePicture);
$("#cancel").onclick = () => attempt(async () => { await send("POST", `bulks/${bulk}/cancel`); await Promise.all(cells().filter((job) => job.bulk !== bulk && !ended(job)).map(cancel)); toast(t("Canceled")); });
addEventListener("popstate", () => location.reload());

setUpPlan(showPlan);
const update = () => { if (bulk && !cells().every(ended)) read(bulk).then((found) => found.forEach(put), () => {}); };
follow({ onUnknown: () => false, onConnect: update, onBulk: (id) => { if (id === bulk) update(); } });
const wanted = new URLSearchParams(location.search).get("bulk");
if (wanted) await attempt(() => show(wanted));
