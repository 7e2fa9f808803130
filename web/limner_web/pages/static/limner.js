// The gallery page: submits jobs to the native API and follows them by server-sent events and polling.
import { $, call, downloads, ended, fetchPreview, getJson, key, listen, needsKey, pictureUrl, send, statusText } from "./api.js";

const form = $("#ask");
const models = Object.fromEntries(JSON.parse($("#models").textContent).map((model) => [model.name, model]));
const cards = new Map(); // job id -> {job, element}
let cursor = null;
const takesNegative = (name) => Boolean(models[name]?.negative_prompts);

// --- the form ------------------------------------------------------------------------------------------------

function offerChoices() {
  const model = models[form.elements.model.value];
  const fill = (select, values) => select.replaceChildren(...values.map((value) => new Option(value, value)));
  fill(form.elements.style, model.styles);
  fill(form.elements.size, model.sizes);
  $("[data-field=style]").hidden = !model.styles.length;
  $("[data-field=negative_prompt]").hidden = !model.negative_prompts;
  form.elements.n.max = model.max_images;
  for (const name of ["steps", "guidance"]) {
    const { min, max, default: value } = model[name];
    Object.assign(form.elements[name], { min, max, value });
    form.elements[`${name}_shown`].value = value;
  }
}

function readForm() {
  const [width, height] = form.elements.size.value.split("x").map(Number);
  const number = (name) => (form.elements[name].value === "" ? undefined : Number(form.elements[name].value));
  return {
    prompt: form.elements.prompt.value,
    negative_prompt: (takesNegative(form.elements.model.value) && form.elements.negative_prompt.value) || undefined,
    model: form.elements.model.value,
    style: form.elements.style.value || undefined,
    width, height, n: number("n"), seed: number("seed"), steps: number("steps"), guidance: number("guidance"),
  };
}

async function submit(request) {
  const job = await send("POST", "jobs", request);
  show(job, true);
  announce(`Queued: ${job.prompt}`);
}

function showError(error) {
  const field = error.problem?.field || error.problem?.errors?.[0]?.field;
  for (const input of form.elements) input.removeAttribute?.("aria-invalid");
  $("#problem").hidden = !error;
  $("#problem").textContent = error.message || "";
  const input = field && form.elements[{ width: "size", height: "size" }[field] || field];
  input?.setAttribute?.("aria-invalid", "true");
  input?.focus?.();
}

const clearError = () => { $("#problem").hidden = true; for (const input of form.elements) input.removeAttribute?.("aria-invalid"); };
const announce = (text) => { $("#live").textContent = text; };
const tryAction = (action) => action().then(clearError, showError);

form.addEventListener("submit", (event) => {
  event.preventDefault();
  tryAction(() => submit(readForm()));
});
form.addEventListener("click", ({ target }) => {
  if (target.dataset.example) { form.elements.prompt.value = target.dataset.example; form.elements.prompt.focus(); }
});
form.addEventListener("input", ({ target }) => {
  if (form.elements[`${target.name}_shown`]) form.elements[`${target.name}_shown`].value = target.value;
  if (target.name === "model") offerChoices();
});
form.elements.prompt.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && !event.shiftKey) { event.preventDefault(); form.requestSubmit(); }
});

// --- the gallery ---------------------------------------------------------------------------------------------

// The alternative text says what a picture shows; the built-in models may draw only part of a prompt.
const drawnAs = (job) => {
  const shown = job.images[0]?.alt_text?.replace(` (${job.style})`, "");
  return shown && shown !== job.prompt ? `drawn as “${shown}”` : null;
};
const facts = (job, seed = job.seed) => [drawnAs(job), job.style, `${job.width} × ${job.height}`, `seed ${seed}`].filter(Boolean).join(" · ");

function show(job, first) {
  let card = cards.get(job.id);
  if (!card) {
    card = { element: $("#card").content.firstElementChild.cloneNode(true) };
    cards.set(job.id, card);
    card.element.id = job.id;
    $(".prompt", card.element).textContent = job.prompt;
    $(".cancel", card.element).onclick = () => tryAction(async () => show(await (await call(`jobs/${job.id}/cancel`, { method: "POST" })).json()));
    $(".again", card.element).onclick = () => tryAction(() => submit(requestOf(job)));
    $(".reuse", card.element).onclick = () => reuse(job);
    $("#gallery")[first ? "prepend" : "append"](card.element);
    $("#empty").hidden = true;
  }
  if (card.job && (card.job.version > job.version || ended.has(card.job.status))) return;
  card.job = job;
  paint(card);
}

function paint({ job, element }) {
  element.className = `card ${job.status}${job.n > 1 ? " several" : ""}`;
  $(".cancel", element).hidden = ended.has(job.status);
  $(".state", element).hidden = job.status === "succeeded";
  $(".said", element).textContent = statusText(job);
  $(".facts", element).textContent = facts(job);
  const bar = $("progress", element);
  bar.hidden = job.status !== "running";
  if (job.progress) bar.value = job.progress.done / job.progress.total;
  if (job.status === "succeeded") {
    $(".pictures", element).replaceChildren(...job.images.map((image) => picture(job, image)));
    announce(`Done: ${job.prompt}`);
  }
}

async function showPreview(card) {
  const { element, job } = card;
  const { top, bottom } = element.getBoundingClientRect();
  if (document.hidden || bottom < 0 || top > innerHeight || Date.now() - (card.previewedAt || 0) < 900) return;
  card.previewedAt = Date.now();
  const url = await fetchPreview(job);
  if (!url || ended.has(card.job.status)) return;
  const img = $(".pictures .preview", element) || Object.assign(new Image(), { className: "preview", alt: "" });
  URL.revokeObjectURL(img.src);
  img.src = url;
  $(".pictures", element).replaceChildren(img);
}

function picture(job, image) {
  const button = document.createElement("button");
  const img = new Image(image.width, image.height);
  img.alt = image.alt_text || job.prompt;
  img.loading = "lazy";
  pictureUrl(image).then((url) => { img.src = url; });
  button.append(img);
  button.type = "button";
  button.setAttribute("aria-label", `Enlarge: ${job.prompt}, seed ${image.seed}`);
  button.onclick = () => enlarge(job, image, img.src);
  return button;
}

async function enlarge(job, image, src) {
  const viewer = $("#viewer");
  $(".prompt", viewer).textContent = job.prompt;
  $(".facts", viewer).textContent = facts(job, image.seed);
  Object.assign($("img", viewer), { src, alt: image.alt_text || job.prompt });
  $(".saves", viewer).replaceChildren(...(await downloads(job, image)));
  viewer.showModal();
}
$("#viewer .close").onclick = () => $("#viewer").close();
$("#viewer").addEventListener("click", (event) => { if (event.target === event.currentTarget) event.currentTarget.close(); });

function requestOf({ prompt, negative_prompt, model, style, width, height, steps, guidance, n }) {
  return { prompt, negative_prompt: (takesNegative(model) && negative_prompt) || undefined, model, style: style || undefined, width, height, steps, guidance, n };
}

function reuse(job) {
  form.elements.model.value = job.model;
  offerChoices();
  const values = { prompt: job.prompt, negative_prompt: job.negative_prompt, style: job.style, size: `${job.width}x${job.height}`, n: job.n, seed: job.seed, steps: job.steps, guidance: job.guidance };
  for (const [name, value] of Object.entries(values)) form.elements[name].value = value ?? "";
  for (const name of ["steps", "guidance"]) form.elements[`${name}_shown`].value = job[name];
  form.elements.prompt.focus();
}

async function more() {
  const page = await getJson(`jobs?limit=48${cursor ? `&cursor=${cursor}` : ""}`);
  page.items.forEach((job) => show(job, false));
  cursor = page.next;
  $("#older").hidden = !cursor;
}
$("#older").onclick = () => tryAction(more);

// --- updates ----------------------------------------------------------------------------------------------------

const refresh = async (id) => { const known = cards.has(id); show(await getJson(`jobs/${id}`), !known); };

function showProgress({ id, progress }) {
  const card = cards.get(id);
  if (!card || ended.has(card.job.status)) return;
  card.job = { ...card.job, status: "running", progress };
  paint(card);
  showPreview(card).catch(() => {});
}

// Events may be lost, so jobs that have not ended are polled as well: more often with a key, as there are no events then.
async function poll() {
  const open = [...cards.values()].filter(({ job }) => !ended.has(job.status)).slice(0, 20);
  await Promise.allSettled(open.map(({ job }) => refresh(job.id)));
  for (const card of open) if (card.job.status === "running") showPreview(card).catch(() => {});
  setTimeout(poll, key() ? 1000 : 4000);
}

offerChoices();
if (!needsKey || key()) tryAction(more);
listen((id) => refresh(id).catch(() => {}), showProgress);
poll();
