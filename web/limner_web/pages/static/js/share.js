// A link to a picture, which works without a key until it expires.
import { getJson } from "./api.js";
import { choice, field, tell } from "./dialog.js";
import { button, el } from "./dom.js";
import { dateTime, t } from "./i18n.js";
import { attempt, toast } from "./toast.js";

const TIMES = [[3600, t("an hour")], [86_400, t("a day")], [604_800, t("a week")]];

export function share(image) {
  const link = el("input", { readOnly: true, onfocus: () => link.select() });
  const times = choice("time", TIMES, 86_400);
  const until = el("p", { className: "quiet" });
  until.setAttribute("role", "status");
  const copy = navigator.clipboard && button(t("Copy"), () => attempt(async () => { await navigator.clipboard.writeText(link.value); toast(t("Link copied")); }), "primary", "copy");
  const make = () => attempt(async () => {
    const seconds = times.value;
    const { url, expires_at: end } = await getJson(`images/${image.id}/link?expires_in=${seconds}`);
    if (seconds !== times.value) return; // another time was chosen meanwhile
    link.value = url;
    until.textContent = t("Everyone who has the link sees the picture until %(time)s. Deleting the picture ends it at once.", { time: dateTime(end) });
  });
  times.addEventListener("change", make);
  tell(t("Share this picture"), field(t("The link works for"), times), el("div", { className: "with-button" }, el("label", { className: "grow" }, el("span", { className: "sr" }, t("Link")), link), copy), until);
  return make();
}
