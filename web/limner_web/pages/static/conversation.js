// The conversation's page: messages over the native API, each with the pictures that it became.
import { $, call, downloads, ended, getJson, glimpse, listen, pictureUrl, said, send } from "./api.js";

const form = $("#compose");
const message = form.elements.message;
const seen = new Map(); // turn id -> {element, job, glimpsed}
let talk = null; // the conversation that is shown
let shown = []; // its turns from the first to the last, along the chosen branch
let editing = null; // the turn whose message is being changed

// --- which turns are shown -------------------------------------------------------------------------------------

const siblings = (turn) => talk.turns.filter((other) => other.parent === turn.parent);

function lastBelow(turn) {
  const below = talk.turns.filter((other) => other.parent === turn.id);
  return below.length ? lastBelow(below.at(-1)) : turn;
}

function pathTo(turn) {
  const by = Object.fromEntries(talk.turns.map((each) => [each.id, each]));
  const path = [];
  for (let at = turn; at; at = by[at.parent]) path.unshift(at);
  return path;
}

function choose(turn) {
  shown = turn ? pathTo(lastBelow(turn)) : [];
  $("#greeting").hidden = shown.length > 0;
  $("#turns").replaceChildren(...shown.map((each) => paint(each)));
}

// --- one turn --------------------------------------------------------------------------------------------------

function paint(turn) {
  let held = seen.get(turn.id);
  if (!held) {
    held = { element: $("#turn").content.firstElementChild.cloneNode(true) };
    seen.set(turn.id, held);
    const { element } = held;
    element.id = turn.id;
    element.lang = "";
    $(".message p", element).textContent = turn.message;
    $(".edit", element).onclick = () => edit(turn);
    $(".again", element).onclick = () => attempt(() => post("again", turn.id));
    $(".cancel", element).onclick = () => attempt(async () => update(await (await call(`jobs/${held.job.id}/cancel`, { method: "POST" })).json()));
  }
  const versions = siblings(turn);
  const place = versions.findIndex((other) => other.id === turn.id);
  const { element } = held;
  $(".branch", element).hidden = versions.length < 2;
  $(".branch span", element).textContent = `${place + 1} / ${versions.length}`;
  for (const [name, step] of [[".older", -1], [".newer", 1]]) {
    $(name, element).disabled = !versions[place + step];
    $(name, element).onclick = () => choose(versions[place + step]);
  }
  if (turn.job && (!held.job || turn.job.version >= held.job.version)) reply(held, turn.job);
  return element;
}

function reply(held, job) {
  const { element } = held;
  const isNew = held.job?.status !== job.status;
  held.job = job;
  $(".reply", element).className = `reply ${job.status}${job.n > 1 ? " several" : ""}`;
  $(".said", element).textContent = job.status === "running" && !job.progress && !job.interpretation ? "Thinking" : said(job);
  $(".state", element).hidden = job.status === "succeeded";
  const bar = $("progress", element);
  bar.hidden = job.status !== "running" || !job.progress;
  if (job.progress) bar.value = job.progress.done / job.progress.total;
  $(".cancel", element).hidden = ended.has(job.status);
  $(".again", element).hidden = job.status !== "succeeded";
  $(".presentation", element).textContent = job.presentation || "";
  $(".understood", element).textContent = understood(job);
  if (job.status === "succeeded" && isNew) finished(held, job);
}

// What was made of the words, small beneath the picture: so that one sees why, and how to say it otherwise.
function understood(job) {
  if (!job.interpretation) return "";
  const parts = [`“${job.revised_prompt}”`, job.style, job.negative_prompt && `without ${job.negative_prompt}`, `${job.width} × ${job.height}`, `seed ${job.seed}`];
  return [parts.filter(Boolean).join(" · "), job.interpretation.fallback].filter(Boolean).join(" — ");
}

async function finished({ element }, job) {
  const pictures = job.images.map((image) => {
    const img = new Image(image.width, image.height);
    img.alt = image.alt_text || job.prompt;
    pictureUrl(image).then((url) => { img.src = url; });
    return img;
  });
  $(".pictures", element).replaceChildren(...pictures);
  if (job.images.length === 1) $(".saves", element).replaceChildren(...(await downloads(job, job.images[0])));
  $("#live").textContent = job.presentation || `Done: ${job.prompt}`;
  element.scrollIntoView({ block: "end", behavior: "smooth" });
}

async function look(held) {
  if (document.hidden || Date.now() - (held.glimpsed || 0) < 900) return;
  held.glimpsed = Date.now();
  const url = await glimpse(held.job);
  if (!url || ended.has(held.job.status)) return;
  const img = $(".preview", held.element) || Object.assign(new Image(), { className: "preview", alt: "" });
  URL.revokeObjectURL(img.src);
  img.src = url;
  $(".pictures", held.element).replaceChildren(img);
}

// --- what is said ----------------------------------------------------------------------------------------------

const complain = (error) => { $("#problem").textContent = error.message; $("#problem").hidden = false; };
const attempt = (action) => action().then(() => { $("#problem").hidden = true; }, complain);

async function post(text, after) {
  const model = form.elements.model?.value;
  if (!talk) {
    talk = await send("POST", "conversations", { message: text, model });
    history.pushState(null, "", `#${talk.id}`);
    choose(talk.turns.at(-1));
    await list();
  } else {
    const path = `conversations/${talk.id}`;
    const turn = editing
      ? await send("PUT", `${path}/turns/${editing.id}`, { message: text, model })
      : await send("POST", `${path}/messages`, { message: text, after: after || shown.at(-1)?.id, model });
    talk.turns.push(turn);
    choose(turn);
  }
  $("#turns").lastElementChild.scrollIntoView({ block: "end", behavior: "smooth" });
}

function edit(turn) {
  editing = turn;
  message.value = turn.message;
  form.classList.add("editing");
  message.focus();
}

function done() {
  editing = null;
  message.value = "";
  message.style.removeProperty("height");
  form.classList.remove("editing");
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  if (message.value.trim()) attempt(() => post(message.value).then(done));
});
message.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && !event.shiftKey) { event.preventDefault(); form.requestSubmit(); }
  if (event.key === "Escape" && editing) done();
});
$("#greeting").addEventListener("click", ({ target }) => {
  if (target.classList.contains("chip")) attempt(() => post(target.textContent));
});

// --- the conversations -----------------------------------------------------------------------------------------

async function list() {
  const { items } = await getJson("conversations?limit=50");
  $("#talks").replaceChildren(...items.map(({ id, title }) => {
    const link = Object.assign(document.createElement("a"), { href: `#${id}`, textContent: title || "…" });
    if (id === talk?.id) link.setAttribute("aria-current", "page");
    const item = document.createElement("li");
    item.append(link);
    return item;
  }));
}

async function open() {
  const id = location.hash.slice(1);
  done();
  talk = id ? await getJson(`conversations/${id}`) : null;
  if (talk && form.elements.model) form.elements.model.value = talk.turns.at(-1)?.job?.model || form.elements.model.value;
  choose(talk?.turns.at(-1));
  await list();
  message.focus();
}

$("#new").onclick = () => { history.pushState(null, "", location.pathname); attempt(open); };
addEventListener("popstate", () => attempt(open));

// --- news ------------------------------------------------------------------------------------------------------

function update(job) {
  const turn = talk?.turns.find((each) => each.job?.id === job.id);
  if (!turn) return;
  turn.job = job;
  paint(turn);
}

const refresh = async (id) => { if (talk?.turns.some((turn) => turn.job?.id === id)) update(await getJson(`jobs/${id}`)); };

function progressed({ id, progress }) {
  const held = [...seen.values()].find(({ job }) => job?.id === id);
  if (!held || ended.has(held.job.status)) return;
  reply(held, { ...held.job, status: "running", progress });
  look(held).catch(() => {});
}

async function poll() {
  const open = shown.filter(({ job }) => job && !ended.has(job.status));
  await Promise.allSettled(open.map(({ job }) => refresh(job.id)));
  for (const { id } of open) if (seen.get(id)?.job.status === "running") look(seen.get(id)).catch(() => {});
  setTimeout(poll, 1000);
}

attempt(open);
listen((id) => refresh(id).catch(() => {}), progressed);
poll();
