// Says in words what jobs will cost and when they will be ready, before they are submitted.
import { send } from "./api.js";
import { number, t, tn } from "./i18n.js";
import { duration, pauseWords } from "./words.js";

const CHANGED_MS = 400; // after the last change
const FIELDS = ["model", "width", "height", "steps", "n", "quality"]; // what the cost depends on
const MOST_KINDS = 1000; // in one estimate

function costWords({ cost, cost_left: left }) {
  const words = tn("%(n)s cost unit", "%(n)s cost units", cost);
  return left === null ? words : t("%(cost)s of the %(left)s left today", { cost: words, left: number(left) });
}

function timeWords({ paused, workers, eta }) {
  if (paused) return pauseWords(paused);
  if (workers === 0) return t("No worker serves this model now");
  return eta ? t("Ready in %(time)s", { time: duration(eta.median_seconds) }) : t("Time not known yet");
}

// Writes an estimate into an element; null empties it.
export function write(area, told) {
  area.textContent = told ? [timeWords(told), costWords(told)].join(" · ") : "";
  area.classList.toggle("beyond", told !== null && told.cost_left !== null && told.cost > told.cost_left);
}

export const costFields = (request) => Object.fromEntries(FIELDS.filter((name) => request[name] !== undefined).map((name) => [name, request[name]]));

function kindsOf(requests) {
  const kinds = new Map();
  for (const request of requests) {
    const fields = costFields(request);
    const key = JSON.stringify(fields);
    if (!kinds.has(key)) kinds.set(key, { ...fields, count: 0 });
    kinds.get(key).count += 1;
  }
  return [...kinds.values()];
}

// Makes a function that shows the estimate of a bulk of these requests a little later, and only the latest.
export function bulkEstimate(area) {
  let timer = null;
  let asked = 0;
  const show = async (requests, turn) => {
    const kinds = kindsOf(requests);
    const isAsked = kinds.length > 0 && kinds.length <= MOST_KINDS;
    const told = isAsked ? await send("POST", "estimate", { jobs: kinds }).catch((error) => { if (error.status === undefined) throw error; return null; }) : null;
    if (turn === asked) write(area, told); // submitting says what is wrong
  };
  return (requests) => {
    clearTimeout(timer);
    asked += 1;
    timer = setTimeout(show, CHANGED_MS, requests, asked);
  };
}
