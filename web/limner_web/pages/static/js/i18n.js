// The texts of the pages in the reader's language, and numbers and times as that language writes them. The page names
// its catalog; English needs none, and stands in for what a catalog lacks or while it cannot be loaded.
const { lang, dataset } = document.documentElement;
const catalog = dataset.texts ? await fetch(dataset.texts).then((answer) => answer.json()).catch(() => ({})) : {};
export const isEnglish = lang === "en";
const plurals = new Intl.PluralRules(lang);
// Readers of American and of British English write dates differently.
const locale = navigator.languages.find((each) => each.split("-")[0] === lang) ?? lang;

const fill = (text, values) => text.replace(/%(?:\((\w+)\)s|%)/g, (_, name) => (name ? values[name] : "%"));

// A text with its values, which stand as %(name)s in it.
export const t = (text, values = {}) => fill(catalog[text] ?? text, values);

// A text that depends on a number, which stands as %(n)s in it.
export function tn(one, many, value, values = {}) {
  const forms = catalog[one] ?? [one, many];
  const form = plurals.select(value) === "one" ? forms[0] : forms.at(-1);
  return fill(form, { n: number(value), ...values });
}

export const number = (value, options) => value.toLocaleString(locale, options);
export const dateTime = (at, timeStyle = "short") => new Date(at).toLocaleString(locale, { dateStyle: "medium", timeStyle });
export const date = (at) => new Date(at).toLocaleDateString(locale, { dateStyle: "medium" });
export const time = (at) => new Date(at).toLocaleTimeString(locale, { hour: "2-digit", minute: "2-digit" });
export const languageName = (code) => { try { return new Intl.DisplayNames([lang], { type: "language" }).of(code); } catch { return code; } };
