// The tags of a picture and its job, each with a button that takes it away.
import { $$, el, icon } from "./dom.js";
import { t } from "./i18n.js";
import { addTag, removeTag } from "./organise.js";
import { attempt, toast } from "./toast.js";

// A term and its description for a list, hidden while there is no tag. `onChange` follows each change.
export function tagsRow({ job, image }, onChange) {
  const list = el("ul", { className: "tags" });
  const row = [el("dt", {}, t("Tags")), el("dd", {}, list)];
  const change = (work) => attempt(async () => { await work(); show(); onChange(); });
  const remove = (tag) => change(async () => {
    await removeTag(job, [image], tag);
    toast(t("Tag “%(tag)s” removed", { tag }), { action: t("Undo"), onAction: () => change(() => addTag(image, tag)) });
  });
  const chip = (tag) => el("li", { className: "tag" }, tag, el("button", { type: "button", ariaLabel: t("Remove the tag %(tag)s", { tag }), onclick: () => remove(tag) }, icon("x")));

  function show() {
    const at = $$("button", list).indexOf(document.activeElement);
    const tags = [...new Set([...job.tags, ...image.tags])].sort();
    list.replaceChildren(...tags.map(chip));
    for (const part of row) part.hidden = !tags.length;
    const buttons = $$("button", list);
    if (at >= 0) (buttons[at] ?? buttons.at(-1))?.focus();
  }

  show();
  return row;
}
