// The jobs on this page, by id. `put` ignores what is older than what is known, and tells the watchers what changed.
import { getJson } from "./api.js";
import { ended } from "./words.js";

export const jobs = new Map();
const watchers = new Set();

export const watch = (watcher) => { watchers.add(watcher); };

export function put(job) {
  const known = jobs.get(job.id);
  if (known && (known.version > job.version || (ended(known) && !ended(job)))) return known;
  jobs.set(job.id, job);
  for (const watcher of watchers) watcher(job, known);
  return job;
}

// Forgets a job that no longer exists; the watchers get null and what was known of it, at least its id.
export function drop(id) {
  const known = jobs.get(id) || { id };
  jobs.delete(id);
  for (const watcher of watchers) watcher(null, known);
}

export async function refresh(id) {
  try {
    return put(await getJson(`jobs/${id}`));
  } catch (error) {
    if (error.status === 404) drop(id);
    throw error;
  }
}

// Several at once, at most 100; those that no longer exist are dropped.
export async function refreshAll(ids) {
  if (!ids.length) return;
  const { items } = await getJson(`jobs?ids=${ids}`);
  const found = new Set(items.map(({ id }) => id));
  for (const id of ids) if (!found.has(id)) drop(id);
  items.forEach(put);
}

// The jobs that `wanted` finds, from the newest one back to the one that is known as `newest`, in whole pages; without
// one, the first page. `oldest` is the id back to which all were read.
export async function readNewer(wanted, newest) {
  const items = [];
  let next = null;
  do {
    if (next) wanted.set("cursor", next);
    const page = await getJson(`jobs?${wanted}`);
    items.push(...page.items);
    ({ next } = page);
  } while (next && newest && !(items.at(-1)?.id <= newest));
  return { items, oldest: next ? items.at(-1)?.id : "" };
}

export function putProgress({ id, progress }) {
  const known = jobs.get(id);
  if (!known || ended(known)) return;
  if (known.progress && known.progress.done > progress.done) return;
  put({ ...known, status: "running", progress });
}

export const open = () => [...jobs.values()].filter((job) => !ended(job));
