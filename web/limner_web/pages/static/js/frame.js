// On every page: the keyboard map, and the choice of a language.
import "./keymap.js";
import { $, $$ } from "./dom.js";

for (const form of $$(".language")) {
  $("button", form).hidden = true;
  form.addEventListener("change", () => form.submit());
}
