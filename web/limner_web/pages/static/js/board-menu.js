// What can be done with the board that is open: another name, and its end, for all its pictures.
import { getJson, patiently } from "./api.js";
import { ask, field } from "./dialog.js";
import { el } from "./dom.js";
import { t } from "./i18n.js";
import { openMenu } from "./menu.js";
import { addTag, forEach, removeTag } from "./organise.js";
import { attempt } from "./toast.js";

const PAGE = 100;

// Every change takes its job out of the answer, so that the first page is asked for until it has no other jobs.
async function forAll(tag, change) {
  const changed = new Set();
  for (;;) {
    const { items } = await patiently(() => getJson(`jobs?${new URLSearchParams({ tag, limit: PAGE })}`));
    const others = items.filter(({ id }) => !changed.has(id));
    if (!others.length) return;
    await forEach(others, (job) => patiently(() => change(job)));
    for (const { id } of others) changed.add(id);
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
