// The presets: settings of the form under a name. The service keeps them, so that they follow their owner to every browser.
import { call, getJson, send } from "./api.js";
import { ask, field, tell } from "./dialog.js";
import { $, el, icon } from "./dom.js";
import { fillSettings, form, models, readSettings } from "./form.js";
import { number, t } from "./i18n.js";
import { attempt, toast } from "./toast.js";
import { count } from "./words.js";

const MOST_CHARS = 50;

const pathOf = (name) => `presets/${encodeURIComponent(name)}`;
const nameInput = (options) => el("input", { name: "name", required: true, maxLength: MOST_CHARS, pattern: "[^/]*\\S[^/]*", title: t("A name without a slash"), autocomplete: "off", ...options });
const given = (input) => input.value.trim();

function summary({ model, style, width, height, n, steps, negative_prompt: without }) {
  const size = width && height && `${width} × ${height}`;
  return [models[model]?.title ?? model, style, size, n > 1 && count(n, "picture"), steps && t("%(n)s steps", { n: number(steps) }), without && t("without %(things)s", { things: without })].filter(Boolean).join(" · ");
}

function load({ settings }, dialog) {
  const isKnown = fillSettings(settings);
  dialog.close();
  toast(isKnown ? t("Settings loaded") : t("There is no model %(model)s here now. The other settings are loaded.", { model: settings.model }));
}

async function rename({ name }, show) {
  const answer = await ask(t("Rename the preset"), { fields: [field(t("Name"), nameInput({ value: name, autofocus: true }))], yes: t("Rename") });
  const next = answer?.get("name").trim();
  if (!next || next === name) return;
  await send("PUT", `${pathOf(name)}/name`, { name: next });
  await show();
}

// Undoing brings the settings back that the preset had.
async function remove({ name, settings }, show) {
  await call(pathOf(name), { method: "DELETE" });
  await show();
  toast(t("“%(name)s” is deleted", { name }), { action: t("Undo"), onAction: () => attempt(() => put(name, settings, show)) });
}

async function put(name, settings, show) {
  await send("PUT", pathOf(name), settings);
  await show();
}

async function save(name, before, show) {
  await put(name, readSettings(), show);
  if (before) toast(t("“%(name)s” has the current settings now", { name }), { action: t("Undo"), onAction: () => attempt(() => put(name, before.settings, show)) });
  else toast(t("Saved as “%(name)s”", { name }));
}

function row(preset, dialog, show) {
  const { name, settings } = preset;
  const tool = (label, look, run) => el("button", { type: "button", className: "icon-btn", ariaLabel: label, title: label, onclick: () => attempt(() => run(preset, show)) }, icon(look));
  const choose = el("button", { type: "button", className: "preset", title: name, onclick: () => load(preset, dialog) }, el("b", {}, name), el("small", {}, summary(settings)));
  return el("li", {}, choose, tool(t("Rename %(name)s", { name }), "edit", rename), tool(t("Delete %(name)s", { name }), "trash", remove));
}

async function open() {
  const list = el("ul", { className: "presets" });
  const name = nameInput({ id: "preset-name" });
  const label = el("label", { htmlFor: name.id }, t("Name of the current settings"));
  const saving = el("form", { className: "field" }, label, el("div", { className: "with-button" }, name, el("button", { className: "btn primary" }, t("Save"))));
  let known = [];
  const show = async () => {
    known = (await getJson("presets")).items;
    list.replaceChildren(...known.map((each) => row(each, dialog, show)), ...(known.length ? [] : [el("li", { className: "nothing" }, t("Keep settings that you like under a name. You find them here in every browser."))]));
  };
  const dialog = tell(t("Presets"), list, saving);
  saving.onsubmit = (event) => {
    event.preventDefault();
    const wanted = given(name);
    attempt(() => save(wanted, known.find((each) => each.name === wanted), show)).then(() => { name.value = ""; });
  };
  await show();
}

export function setUpPresets() {
  $("[data-presets]", form).onclick = () => attempt(open);
}
