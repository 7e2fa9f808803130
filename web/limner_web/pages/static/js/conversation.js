// The conversation page: sends messages to the native API and shows each with its pictures.
import { messageOf } from "./actions.js";
import { attachedFields, goOnFrom, setUpAttaching, showAttached } from "./attach.js";
import { call, getJson, inputUrl, isSlowed, make, pictureUrl, send } from "./api.js";
import { foldTalks, listTalks, setUpTalks } from "./conversation-list.js";
import { enlarge, openActions, setUpPictures } from "./conversation-pictures.js";
import { dock } from "./dock.js";
import { $, $$, el, icon, scrolling } from "./dom.js";
import { t } from "./i18n.js";
import { jobs, put, watch } from "./jobs.js";
import { follow } from "./live.js";
import { modelsLink, shortcomings } from "./shortcomings.js";
import { understoodChips } from "./understood.js";
import { ended, enlargeLabel, status } from "./words.js";

const form = $("#compose");
const message = form.elements.message;
form.dataset.placeholder = message.placeholder;
const entries = new Map(); // turn id -> {element, job, previewedAt}
let conversation = null; // the conversation on the page
let shown = []; // its turns from the first to the last, along the chosen branch
let editing = null; // the turn whose message is being edited
let opening = Promise.resolve(); // the loading of the conversation that the address names
let visit = 0; // counts the conversations that were opened here
let isSending = false;
let picked = null; // {turn, seed}: the picture, of several, from which the next message goes on

// --- choosing the branch -------------------------------------------------------------------------------------

const siblings = (turn) => conversation.turns.filter((other) => other.parent === turn.parent);

function lastBelow(turn) {
  const below = conversation.turns.filter((other) => other.parent === turn.id);
  return below.length ? lastBelow(below.at(-1)) : turn;
}

function pathTo(turn) {
  const by = Object.fromEntries(conversation.turns.map((each) => [each.id, each]));
  const path = [];
  for (let at = turn; at; at = by[at.parent]) path.unshift(at);
  return path;
}

// Small talk has no job: the next message goes on from the one before.
const lastJob = () => shown.findLast(({ job }) => job)?.job;

function choose(turn) {
  shown = turn ? pathTo(lastBelow(turn)) : [];
  $("#greeting").hidden = shown.length > 0;
  $("#turns").replaceChildren(...shown.map((each) => render(each)));
  pick(null);
  goOnFrom(lastJob());
  keepPlace();
  followShown();
}

// The address names the branch if it is not the newest one, so that a reload shows it again.
function keepPlace() {
  const last = shown.at(-1);
  if (last) history.replaceState(null, "", last === conversation.turns.at(-1) ? `#${conversation.id}` : `#${conversation.id}/${last.id}`);
}

// --- one turn --------------------------------------------------------------------------------------------------

function render(turn) {
  let entry = entries.get(turn.id);
  if (!entry) {
    entry = { element: $("#turn").content.firstElementChild.cloneNode(true), turn };
    entries.set(turn.id, entry);
    const { element } = entry;
    element.id = turn.id;
    element.lang = "";
    $(".message p", element).textContent = turn.message;
    showBrought(element, turn);
    $(".edit", element).onclick = () => edit(turn);
    $(".again", element).onclick = () => tryAction(() => post("again", { after: turn.id }));
    $(".retry", element).onclick = () => tryAction(() => post(turn.message, { instead: turn.id, ...messageOf(entry.job) }));
    $(".more", element).onclick = ({ currentTarget }) => openActions(currentTarget, entry.job, pictureOf(entry));
    $(".cancel", element).onclick = () => tryAction(async () => put(await send("POST", `jobs/${entry.job.id}/cancel`)));
  }
  const versions = siblings(turn);
  const place = versions.findIndex((other) => other.id === turn.id);
  const { element } = entry;
  $(".branch", element).hidden = versions.length < 2;
  $(".branch span", element).textContent = `${place + 1} / ${versions.length}`;
  for (const [name, step] of [[".older", -1], [".newer", 1]]) {
    $(name, element).disabled = !versions[place + step];
    $(name, element).onclick = () => choose(versions[place + step]);
  }
  if (!turn.job) renderWords(element, turn);
  if (turn.job && (!entry.job || turn.job.version >= entry.job.version)) renderReply(entry, turn.job);
  return element;
}

// The pictures that the message brought; one that it only goes on from was shown with an earlier message.
function showBrought(element, { parent, job }) {
  const before = pathTo(conversation.turns.find((each) => each.id === parent)).findLast((each) => each.job)?.job;
  for (const image of $$(".brought", element)) {
    const { field } = image.dataset;
    image.onerror = () => { image.hidden = true; };
    image.hidden = !job?.[field] || job[field] === before?.[field];
    if (!image.hidden) image.src = inputUrl(job, field);
  }
}

function statusText(job) {
  const { said, detail } = status(job);
  return job.status === "failed" ? detail : [said, detail].filter(Boolean).join(" · ");
}

// A message that asks for no picture is answered in words, with examples to click.
function renderWords(element, { reply }) {
  $(".reply", element).className = "reply words";
  $(".reply", element).lang = reply?.language ?? "";
  $(".presentation", element).textContent = reply?.text ?? t("Its picture was deleted.");
  $(".understood", element).replaceChildren(...(reply?.examples ?? []).map((text) => el("button", { type: "button", className: "chip", onclick: () => tryAction(() => post(text, attachedFields())) }, text)));
  $(".understood", element).ariaLabel = t("Examples");
  for (const name of [".pictures", ".state", ".again", ".retry", ".more", ".cancel"]) $(name, element).hidden = true;
}

function renderReply(entry, job) {
  const { element } = entry;
  const isNew = entry.job?.status !== job.status;
  const isUnderstood = job.interpretation && !entry.job?.interpretation;
  entry.job = job;
  $(".reply", element).style.setProperty("--shape", `${job.width} / ${job.height}`);
  $(".reply", element).className = `reply ${job.status}${job.n > 1 ? " several" : ""}`;
  $(".said", element).textContent = statusText(job);
  $(".state", element).hidden = job.status === "succeeded";
  const bar = $("progress", element);
  bar.hidden = job.status !== "running" || !job.progress;
  if (job.progress) bar.value = job.progress.done / job.progress.total;
  $(".cancel", element).hidden = ended(job);
  $(".again", element).hidden = job.status !== "succeeded";
  $(".retry", element).hidden = !["failed", "canceled"].includes(job.status);
  $(".more", element).hidden = !job.images.length;
  Object.assign($(".remix", element), { hidden: !job.interpretation, href: `/?remix=${job.id}` });
  $(".presentation", element).textContent = job.presentation || "";
  if (shortcomings(job).length) $(".presentation", element).append(" ", modelsLink(job));
  if (isNew || isUnderstood) showUnderstood(entry, job);
  if (job.status === "succeeded" && isNew) showPictures(entry, job);
}

function showUnderstood({ element, turn }, job) {
  const correct = (fields) => tryAction(() => post(turn.message, { instead: turn.id, ...fields }));
  $(".understood", element).replaceChildren(...understoodChips(job, { correct, reword: () => edit(turn) }));
}

// One of several pictures can be chosen to go on from: the next message keeps its seed.
function showPictures({ element, turn }, job) {
  removePreview(element);
  const show = (image) => el("img", { width: image.width, height: image.height, alt: image.alt_text || job.prompt, src: pictureUrl(image) });
  const choice = (image, at) => el("button", { type: "button", className: "choice", title: t("Go on from this picture"), ariaLabel: t("Go on from picture %(n)s: %(text)s", { n: at + 1, text: image.alt_text || job.prompt }), aria: { pressed: false }, data: { seed: image.seed }, onclick: () => pick(picked?.seed === image.seed && picked.turn === turn.id ? null : { turn: turn.id, seed: image.seed }) }, show(image), icon("check"));
  const single = (image) => el("button", { type: "button", className: "enlarge", ariaLabel: enlargeLabel(job, image), onclick: () => enlarge(image) }, show(image));
  $(".pictures", element).replaceChildren(...job.images.map(job.images.length > 1 ? choice : single));
  $("#live").textContent = job.presentation || t("Done: %(prompt)s", job);
  element.scrollIntoView({ block: "end", behavior: scrolling() });
}

// The one that was chosen, or the first.
const pictureOf = ({ turn, job }) => job.images.find(({ seed }) => picked?.turn === turn.id && picked.seed === seed) ?? job.images[0];

function pick(choice) {
  picked = choice;
  for (const each of $$("#turns .choice")) each.setAttribute("aria-pressed", choice?.turn === each.closest(".turn").id && choice.seed === Number(each.dataset.seed));
  if (choice) goOnFrom(shown.find((turn) => turn.id === choice.turn)?.job);
  message.placeholder = choice ? t("What should change in the chosen picture?") : form.dataset.placeholder;
  if (choice) message.focus();
}

function removePreview(element) {
  const preview = $(".preview", element);
  if (preview) URL.revokeObjectURL(preview.src);
  preview?.remove();
}

async function showPreview(entry) {
  if (document.hidden || Date.now() - (entry.previewedAt || 0) < 900) return;
  entry.previewedAt = Date.now();
  const answer = await call(`jobs/${entry.job.id}/preview`);
  if (answer.status !== 200) return;
  const body = await answer.blob();
  if (ended(entry.job)) return; // the pictures are shown by now
  const url = URL.createObjectURL(body);
  const img = $(".preview", entry.element) || Object.assign(new Image(), { className: "preview", alt: "" });
  URL.revokeObjectURL(img.src);
  img.src = url;
  $(".pictures", entry.element).replaceChildren(img);
}

// --- messages ----------------------------------------------------------------------------------------------

const showError = (error) => { $("#problem").textContent = error.message; $("#problem").hidden = false; };
const tryAction = (action) => action().then(() => { $("#problem").hidden = true; }, showError);

// `place` says after which turn the message comes, or instead of which, and may have fields that override its words.
// While one message is sent, a second press of a key or button is not a second message.
async function post(text, place) {
  if (isSending) return;
  isSending = true;
  try {
    await opening.catch(open); // once more
    await deliver(text, place);
  } finally {
    isSending = false;
  }
}

// A message goes to the conversation that is open when it is sent. If another one is open when it is answered, nothing is
// shown of it: its own conversation has it when it is opened again.
async function deliver(text, { after, instead, ...given } = {}) {
  const fields = { message: text, model: form.elements.model.value, ...given };
  const own = visit;
  if (!conversation) {
    const made = await make("conversations", JSON.stringify(fields));
    if (own === visit) {
      conversation = made;
      history.pushState(null, "", `#${made.id}`);
      choose(made.turns.at(-1));
    }
    tryAction(listTalks); // the next message need not wait for the list
    if (own !== visit) return;
  } else {
    const path = `conversations/${conversation.id}`;
    const turn = instead
      ? await make(`${path}/turns/${instead}`, JSON.stringify(fields), { method: "PUT" })
      : await make(`${path}/messages`, JSON.stringify({ ...fields, after: after || shown.at(-1)?.id }));
    if (own !== visit) return;
    conversation.turns.push(turn);
    choose(turn);
  }
  $("#turns").lastElementChild.scrollIntoView({ block: "end", behavior: scrolling() });
  const { reply } = shown.at(-1);
  if (reply) $("#live").textContent = reply.text;
}

// Where the message in the field goes, and from which picture.
function placeOf() {
  if (editing) return { instead: editing.id };
  return picked ? { after: picked.turn, seed: picked.seed, n: 1 } : {};
}

function edit(turn) {
  editing = turn;
  goOnFrom(turn.job);
  message.value = turn.message;
  form.classList.add("editing");
  message.focus();
}

function stopEditing() {
  editing = null;
  goOnFrom(lastJob());
  form.classList.remove("editing");
}

function resetForm() {
  stopEditing();
  message.value = "";
}

// The field is free for the next message while this one is sent; one that could not be sent is put back.
async function sendMessage() {
  const [text, edited] = [message.value, editing];
  if (isSending || !text.trim()) return;
  message.value = "";
  try {
    await post(text, { ...placeOf(), ...attachedFields() });
  } catch (error) {
    message.value = [text, message.value].filter(Boolean).join("\n");
    throw error;
  }
  if (editing === edited) stopEditing();
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  tryAction(sendMessage);
});
message.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
    event.preventDefault();
    if (!event.repeat) form.requestSubmit();
  }
  if (event.key === "Escape" && editing) resetForm();
  else if (event.key === "Escape") pick(null);
});
$("#greeting").addEventListener("click", ({ target }) => {
  if (target.classList.contains("chip")) tryAction(() => post(target.textContent, attachedFields()));
});

// --- the conversations -----------------------------------------------------------------------------------------

setUpTalks({
  current: () => conversation?.id,
  onDeleted: (id) => { if (id === conversation?.id) $("#new").click(); else tryAction(listTalks); },
});

function open() {
  opening = load();
  return opening;
}

// Where the conversation cannot be loaded, no other one is open in its place.
async function load() {
  const own = ++visit;
  const [id, last] = location.hash.slice(1).split("/");
  let found = null;
  try {
    found = id ? await getJson(`conversations/${id}`) : null;
  } finally {
    if (own === visit) {
      conversation = found;
      choose(found?.turns.find((each) => each.id === last) ?? found?.turns.at(-1));
    }
  }
  if (own !== visit) return;
  if (found) form.elements.model.value = found.turns.findLast(({ job }) => job)?.job.model || form.elements.model.value;
  showAttached();
}

// Opens the conversation that the address names, and shows it in the list.
async function visitTalk() {
  resetForm();
  await open();
  await listTalks();
  foldTalks();
  message.focus();
}

$("#new").onclick = () => { history.pushState(null, "", location.pathname); tryAction(visitTalk); };
addEventListener("popstate", () => tryAction(visitTalk));

// --- updates ------------------------------------------------------------------------------------------------------

function update(job) {
  if (!job) return;
  const turn = conversation?.turns.find((each) => each.job?.id === job.id);
  if (!turn) return;
  turn.job = job;
  render(turn);
}

watch(update);

// The jobs of the turns shown are followed until they end.
const followShown = () => { for (const { job } of shown) if (job && !jobs.has(job.id)) put(job); };

setInterval(() => {
  if (isSlowed()) return;
  for (const { id, job } of shown) if (job?.status === "running" && entries.get(id)) showPreview(entries.get(id)).catch(() => {});
}, 1000);

setUpPictures(() => shown.flatMap(({ job }) => (job?.images ?? []).map((image) => ({ job, image }))));
setUpAttaching($(".thread"));
dock($("#compose"));
tryAction(visitTalk);
follow({ onUnknown: () => false });
