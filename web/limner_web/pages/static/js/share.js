// A link to a picture, which works without a key until it expires.
import { getJson } from "./api.js";
import { choice, field, tell } from "./dialog.js";
import { button, el } from "./dom.js";
import { attempt, toast } from "./toast.js";

const TIMES = [[3600, "an hour"], [86_400, "a day"], [604_800, "a week"]];

export function share(image) {
  const link = el("input", { readOnly: true, onfocus: () => link.select() });
  const times = choice("time", TIMES, 86_400);
  const until = el("p", { className: "quiet" });
  until.setAttribute("role", "status");
  const copy = navigator.clipboard && button("Copy", () => attempt(async () => { await navigator.clipboard.writeText(link.value); toast("Link copied"); }), "primary", "copy");
  const make = () => attempt(async () => {
    const seconds = times.value;
    const { url, expires_at: end } = await getJson(`images/${image.id}/link?expires_in=${seconds}`);
    if (seconds !== times.value) return; // another time was chosen meanwhile
    link.value = url;
    until.textContent = `Everyone who has the link sees the picture until ${new Date(end).toLocaleString()}. Deleting the picture ends it at once.`;
  });
  times.addEventListener("change", make);
  tell("Share this picture", field("The link works for", times), el("div", { className: "with-button" }, el("label", { className: "grow" }, el("span", { className: "sr" }, "Link"), link), copy), until);
  return make();
}
