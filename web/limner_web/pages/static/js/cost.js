// Says in words what jobs will cost and when they will be ready, before they are submitted.
import { send } from "./api.js";
import { number, t } from "./i18n.js";
import { duration, pauseWords } from "./words.js";

const CHANGED_MS = 400; // after the last change
const FIELDS = ["model", "width", "height", "steps", "n", "quality"]; // what the cost depends on
const MOST_KINDS = 1000; // in one estimate

// A cost means something beside what is left of a daily limit, or beside the cost of one picture as the model draws it by
// default; where that is all, nothing is said.
function costWords({ cost, cost_left: left }, standard) {
  if (left === 0 || cost > left && left !== null) return t("More than is left today: %(cost)s of %(left)s cost units", { cost: number(cost), left: number(left) });
  if (left !== null) return t("%(share)s of what is left today: %(cost)s of %(left)s cost units", { share: number(cost / left, { style: "percent", maximumSignificantDigits: 2 }), cost: number(cost), left: number(left) });
  if (!standard || cost === standard) return "";
  return t("%(times)s times the work of one picture with the default settings", { times: number(cost / standard, { maximumSignificantDigits: 2 }) });
}

function timeWords({ paused, workers, eta }) {
  if (paused) return pauseWords(paused);
  if (workers === 0) return t("No worker serves this model now");
  return eta ? t("Ready in %(time)s", { time: duration(eta.median_seconds) }) : t("Time not known yet");
}

// Writes an estimate into an element; null empties it. `model` is the one that draws all of it, if there is one.
export function write(area, told, model) {
  area.textContent = told ? [timeWords(told), costWords(told, model?.default_cost)].filter(Boolean).join(" · ") : "";
  area.classList.toggle("beyond", told !== null && told.cost_left !== null && told.cost > told.cost_left);
}

export const costFields = (request) => Object.fromEntries(FIELDS.filter((name) => request[name] !== undefined).map((name) => [name, request[name]]));

// Counts a request among those of its kind. Kinds beyond those that an estimate may have are not told apart.
export function countKind(kinds, request) {
  if (kinds.size > MOST_KINDS) return;
  const fields = costFields(request);
  const key = JSON.stringify(fields);
  if (!kinds.has(key)) kinds.set(key, { ...fields, count: 0 });
  kinds.get(key).count += 1;
}

export function kindsOf(requests) {
  const kinds = new Map();
  for (const request of requests) countKind(kinds, request);
  return kinds;
}

// Makes a function that shows the estimate of a bulk of these kinds of requests a little later, and only the latest.
// `modelNamed` finds a model; the default one for no name.
export function bulkEstimate(area, modelNamed) {
  let timer = null;
  let asked = 0;
  const show = async (counted, turn) => {
    const kinds = [...counted.values()];
    const isAsked = kinds.length > 0 && kinds.length <= MOST_KINDS;
    const told = isAsked ? await send("POST", "estimate", { jobs: kinds }).catch((error) => { if (error.status === undefined) throw error; return null; }) : null;
    const [{ model } = {}, ...others] = kinds;
    const isOne = others.every((each) => each.model === model);
    if (turn === asked) write(area, told, isOne ? modelNamed(model) : null); // submitting says what is wrong
  };
  return (kinds) => {
    clearTimeout(timer);
    asked += 1;
    timer = setTimeout(show, CHANGED_MS, kinds, asked);
  };
}
