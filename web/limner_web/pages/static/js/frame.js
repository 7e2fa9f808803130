// On every page: the keyboard map, dropped files, and the choice of a language.
import "./dropped-file.js";
import "./keymap.js";
import { $, $$ } from "./dom.js";

for (const form of $$(".language")) {
  $("button", form).hidden = true;
  form.addEventListener("change", () => form.submit());
}
