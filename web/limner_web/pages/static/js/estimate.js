// What the picture will cost and when it will be ready, below the button that draws it.
import { getJson } from "./api.js";
import { $ } from "./dom.js";
import { form, readForm } from "./form.js";
import { number, t, tn } from "./i18n.js";
import { watch } from "./jobs.js";
import { duration, ended, pauseWords } from "./words.js";

const CHANGED_MS = 400; // after the last change of a setting
const JOBS_MS = 3000; // between two looks at the queue while jobs come and go
const FIELDS = ["model", "width", "height", "steps", "n"];
const area = form && $(".estimate", form);
let timer = null;
let asked = 0;

function costWords({ cost, cost_left: left }) {
  const words = tn("%(n)s cost unit", "%(n)s cost units", cost);
  return left === null ? words : t("%(cost)s of the %(left)s left today", { cost: words, left: number(left) });
}

function timeWords({ paused, workers, eta }) {
  if (paused) return pauseWords(paused);
  if (workers === 0) return t("No worker serves this model now");
  return eta ? t("Ready in %(time)s", { time: duration(eta.median_seconds) }) : t("Time not known yet");
}

async function show() {
  const request = readForm();
  const query = new URLSearchParams(FIELDS.flatMap((name) => (request[name] === undefined ? [] : [[name, request[name]]])));
  const turn = ++asked;
  const told = await getJson(`estimate?${query}`).catch((error) => { if (error.status === undefined) throw error; return null; });
  if (turn !== asked) return;
  area.textContent = told ? [timeWords(told), costWords(told)].join(" · ") : ""; // drawing says what is wrong
  area.classList.toggle("beyond", told?.cost_left !== null && told?.cost > told?.cost_left);
}

function showIn(milliseconds) {
  clearTimeout(timer);
  timer = setTimeout(() => { timer = null; show(); }, milliseconds);
}

export function setUpEstimate() {
  form.addEventListener("settings", () => showIn(CHANGED_MS));
  watch((job, before) => { if (timer === null && (!job || !before || ended(job) !== ended(before))) showIn(JOBS_MS); });
  show();
}
