// What can be done with the board that is open: another name, and its end, for all its pictures.
import { getJson, slowedFor } from "./api.js";
import { ask, field } from "./dialog.js";
import { el } from "./dom.js";
import { t } from "./i18n.js";
import { openMenu } from "./menu.js";
import { addTag, forEach, removeTag } from "./organise.js";
import { attempt } from "./toast.js";

const PAGE = 100;

// Waits as long as the service asks for fewer requests.
async function patiently(work) {
  try {
    return await work();
  } catch (error) {
    if (error.status !== 429) throw error;
    await new Promise((go) => setTimeout(go, Math.max(1000, slowedFor())));
    return patiently(work);
  }
}

// Every change takes its job out of the answer, so that the first page is asked for until it is empty.
async function forAll(tag, change) {
  for (let items = null; !items || items.length;) {
    ({ items } = await patiently(() => getJson(`jobs?${new URLSearchParams({ tag, limit: PAGE })}`)));
    await forEach(items, (job) => patiently(() => change(job)));
  }
}

const clear = (job, tag) => removeTag(job, job.images, tag);

async function rename(tag, onChange) {
  const input = el("input", { name: "tag", value: tag, required: true, maxLength: 50, autocomplete: "off", autofocus: true });
  const answer = await ask(t("Rename the board"), { fields: [field(t("Name"), input)], yes: t("Rename") });
  const next = answer?.get("tag").trim();
  if (!next || next === tag) return;
  await forAll(tag, async (job) => {
    for (const target of [job, ...job.images]) if (target.tags.includes(tag)) await addTag(target, next);
    await clear(job, tag);
  });
  onChange(next);
}

async function remove(tag, onChange) {
  const agreed = await ask(t("Delete the board “%(tag)s”?", { tag }), { text: t("Its pictures stay in the gallery."), yes: t("Delete") });
  if (!agreed) return;
  await forAll(tag, (job) => clear(job, tag));
  onChange("");
}

// `onChange(tag)` opens what is there instead.
export const openBoardMenu = (at, tag, onChange) => openMenu(at, [
  { icon: "edit", text: t("Rename …"), onClick: () => attempt(() => rename(tag, onChange)) },
  { group: "end", icon: "trash", text: t("Delete the board …"), danger: true, onClick: () => attempt(() => remove(tag, onChange)) },
]);
