// What the picture will cost and when it will be ready, below the button that draws it.
import { getJson, isSlowed } from "./api.js";
import { costFields, write } from "./cost.js";
import { $ } from "./dom.js";
import { form, modelChosen, readForm } from "./form.js";
import { watch } from "./jobs.js";
import { ended } from "./words.js";

const CHANGED_MS = 400; // after the last change of a setting
const JOBS_MS = 3000; // between two looks at the queue while jobs come and go
const AWAY_MS = 8000; // between two looks for a worker while there is none
const area = form && $(".estimate", form);
let timer = null;
let asked = 0;

async function show() {
  if (asked && (document.hidden || isSlowed())) { showIn(AWAY_MS); return; }
  const query = new URLSearchParams(costFields(readForm()));
  const turn = ++asked;
  const told = await getJson(`estimate?${query}`).catch((error) => { if (error.status === undefined) throw error; return null; });
  if (turn !== asked) return;
  write(area, told, modelChosen()); // drawing says what is wrong
  if (told?.workers === 0 && timer === null) showIn(AWAY_MS);
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
