// On every page: the keyboard map, dropped files, the choice of a language, and the page for when there is no connection.
import "./dropped-file.js";
import "./keymap.js";
import { $, $$ } from "./dom.js";

for (const form of $$(".language")) {
  $("button", form).hidden = true;
  form.addEventListener("change", () => form.submit());
}

// Browsers have workers in secure contexts only, and some refuse them in private windows.
const register = () => navigator.serviceWorker?.register("/service-worker.js").catch(() => {});
if (document.readyState === "complete") register();
else addEventListener("load", register);
