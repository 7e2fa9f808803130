// On every page: the keyboard map, the choice of a language, and on a narrow window the current entry of the navigation
// in view.
import "./keymap.js";
import { $, $$ } from "./dom.js";

$(".top [aria-current]")?.scrollIntoView({ inline: "center", block: "nearest" });
for (const form of $$(".language")) {
  $("button", form).hidden = true;
  form.addEventListener("change", () => form.submit());
}
