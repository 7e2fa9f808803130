// The filters of the gallery: what they say, what the API is asked for by them, and which pictures meet them.
import { getJson } from "./api.js";
import { $ } from "./dom.js";
import { dateTime } from "./i18n.js";
import { isLoved } from "./organise.js";
import { count } from "./words.js";

const PAGE = 100;
export const filters = $("#filters");

export function query() {
  const values = new URLSearchParams();
  for (const [name, value] of new FormData(filters)) if (value) values.set(name, value);
  return values;
}

// What the API is asked for: all from the beginning of one day to the end of another one, by the reader's clock.
export function wantedJobs() {
  const wanted = query();
  const [from, until] = ["from", "until"].map((name) => wanted.get(name));
  for (const name of ["from", "until"]) wanted.delete(name);
  if (from) wanted.set("created_after", startOf(from).toISOString());
  if (until) wanted.set("created_before", endOf(until).toISOString());
  wanted.set("status", "succeeded");
  wanted.set("limit", PAGE);
  return wanted;
}

const startOf = (day) => new Date(`${day}T00:00`);

function endOf(day) {
  const end = startOf(day);
  end.setDate(end.getDate() + 1);
  return end;
}

const originOf = (job) => (job.bulk && "bulk") || (job.conversation && "conversation") || "single";

// Whether a job that has changed belongs to the list, by all but the marks of its pictures (`fits`). Words cannot be
// compared here, so that what was found by them is left as it is.
export function isWanted(job) {
  const wanted = query();
  const isOfOrigin = !wanted.has("origin") || wanted.get("origin") === originOf(job);
  return isOfOrigin && !wanted.has("q") && ["model", "bulk"].every((name) => !wanted.get(name) || wanted.get(name) === job[name])
    && (!wanted.get("from") || new Date(job.created_at) >= startOf(wanted.get("from"))) && (!wanted.get("until") || new Date(job.created_at) < endOf(wanted.get("until"))) && (!wanted.get("style") || [job.style, ...job.images.map((image) => image.style)].includes(wanted.get("style")));
}

// A filter finds a job by any of its pictures; only those that match themselves are shown.
export function fits({ job, image }) {
  const wanted = query();
  const tag = wanted.get("tag");
  return (!wanted.has("favourite") || isLoved(job, image)) && (!tag || image.tags.includes(tag) || job.tags.includes(tag));
}

// One bulk is chosen where bulks are.
export function offerBulks() {
  const { origin, bulk } = filters.elements;
  const isShown = origin.value === "bulk";
  if (!isShown) bulk.value = "";
  bulk.closest("label").hidden = !isShown;
}

const has = (select, wanted) => [...select.options].some(({ value }) => value === wanted);

export async function listBulks() {
  const { bulk: select } = filters.elements;
  const { items } = await getJson("bulks?limit=100");
  for (const bulk of items) if (!has(select, bulk.id)) select.append(new Option(`${dateTime(bulk.created_at)} · ${count(bulk.total, "job")}`, bulk.id));
}

// Sets what the address says.
export function fillFilters() {
  for (const [name, value] of new URLSearchParams(location.search)) {
    const input = filters.elements[name];
    if (!input) continue;
    if (input.tagName === "SELECT" && !has(input, value)) input.append(new Option(value, value));
    if (input.type === "checkbox") input.checked = true;
    else input.value = value;
  }
  if (filters.elements.bulk.value) filters.elements.origin.value = "bulk";
}
