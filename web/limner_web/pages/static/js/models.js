// The page of the models: the names that each knows, searched in the reader's language.
import { getJson } from "./api.js";
import { $, $$, el } from "./dom.js";
import { number, t, tn } from "./i18n.js";
import { attempt } from "./toast.js";

const MOST_SHOWN = 80;
const { lang } = document.documentElement;
const plain = (text) => text.normalize("NFKD").replace(/\p{M}/gu, "").toLowerCase();

function show(area, model, names) {
  const wanted = plain($("input", area).value.trim());
  const found = names.filter((name) => plain(name).includes(wanted));
  const links = found.slice(0, MOST_SHOWN).map((name) => el("li", {}, el("a", { className: "chip", href: `/?${new URLSearchParams({ model, prompt: name })}` }, name)));
  $("[role=status]", area).textContent = !names.length ? t("No names are known now.") : found.length ? [tn("%(n)s name", "%(n)s names", found.length), found.length > MOST_SHOWN && t("the first %(n)s are shown", { n: number(MOST_SHOWN) })].filter(Boolean).join(" · ") : t("It knows no such name. Another word may do; what it does not know, it draws as the nearest name.");
  $("ul", area).replaceChildren(...links);
}

for (const area of $$("[data-names]")) {
  const model = area.dataset.names;
  let names = [];
  area.hidden = false;
  $("input", area).addEventListener("input", () => show(area, model, names));
  area.addEventListener("toggle", () => attempt(async () => {
    if (!area.open || names.length) return;
    names = [...new Set((await getJson(`models/${encodeURIComponent(model)}/names?language=${lang}`)).items)];
    show(area, model, names);
  }));
}
