// What can be done with a whole conversation: renamed, saved as a text file, deleted.
import { call, getJson, pictureUrl, send } from "./api.js";
import { ask, field } from "./dialog.js";
import { el, icon } from "./dom.js";
import { dateTime, t } from "./i18n.js";
import { openMenu } from "./menu.js";
import { attempt } from "./toast.js";
import { save } from "./zip.js";

const MAX_TITLE = 80;
const quoted = (text) => text.split("\n").map((line) => `> ${line}`).join("\n");
const escaped = (text) => text.replace(/[[\]]/g, "\\$&");
const pictureLine = (image, job) => `![${escaped(image.alt_text || job.prompt)}](${new URL(pictureUrl(image, "png"), location)})`;

// The turns with what follows each: every version of a message before what was said after it, and the next version.
function inOrder(turns) {
  const below = Map.groupBy(turns, ({ parent }) => parent ?? "");
  const found = [];
  const open = [["", 0]];
  while (open.length) {
    const [turn, place] = open.pop();
    if (turn) found.push({ turn, place, versions: below.get(turn.parent ?? "") });
    open.push(...(below.get(turn.id ?? "") ?? []).map((each) => [each, place + 1]).reverse());
  }
  return found;
}

function asMarkdown({ title, created_at: created, turns }) {
  const parts = [`# ${title}`, dateTime(created)];
  for (const { turn: { id, message, job, reply }, place, versions } of inOrder(turns)) {
    const n = versions.findIndex((each) => each.id === id) + 1;
    const heading = t("Message %(place)s, version %(n)s of %(all)s", { place, n, all: versions.length });
    if (versions.length > 1) parts.push(`## ${heading}`);
    parts.push(quoted(message), reply?.text);
    if (job) parts.push(job.presentation, job.images.map((image) => pictureLine(image, job)).join("\n"));
  }
  return `${parts.filter(Boolean).join("\n\n")}\n`;
}

async function exportTalk(id) {
  const talk = await getJson(`conversations/${id}`);
  save(new Blob([asMarkdown(talk)], { type: "text/markdown" }), `${id}.md`);
}

async function renameTalk({ id, title }, onRenamed) {
  const input = el("input", { name: "title", value: title, required: true, maxLength: MAX_TITLE, autocomplete: "off", autofocus: true });
  const answer = await ask(t("Rename the conversation"), { fields: [field(t("Title"), input)], yes: t("Rename") });
  if (!answer?.get("title").trim()) return;
  await send("PUT", `conversations/${id}/title`, { title: answer.get("title").trim() });
  await onRenamed();
}

async function deleteTalk(id, onDeleted) {
  const agreed = await ask(t("Delete this conversation?"), { text: t("Its messages are deleted. Its pictures stay in the gallery."), yes: t("Delete") });
  if (!agreed) return;
  await call(`conversations/${id}`, { method: "DELETE" });
  onDeleted();
}

// The button of a conversation in the list.
export function talkMenu({ id, title }, { onDeleted, onRenamed }) {
  const more = el("button", { type: "button", className: "icon-btn", ariaLabel: t("More actions for %(title)s", { title }), aria: { haspopup: "menu" } }, icon("more"));
  more.onclick = () => openMenu(more, [
    { icon: "edit", text: t("Rename …"), onClick: () => attempt(() => renameTalk({ id, title }, onRenamed)) },
    { icon: "download", text: t("Save as a text file"), onClick: () => attempt(() => exportTalk(id)) },
    { group: "end", icon: "trash", text: t("Delete"), danger: true, onClick: () => attempt(() => deleteTalk(id, onDeleted)) },
  ]);
  return more;
}
