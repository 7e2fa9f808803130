// Shared by both pages: calls of the native API, with an API key where one is required, and job updates.
export const api = "/api/v1";
export const ended = new Set(["succeeded", "failed", "canceled"]);
export const $ = (selector, root = document) => root.querySelector(selector);

const field = $("[name=key]");
if (field) {
  field.value = sessionStorage.getItem("limner-key") || "";
  field.addEventListener("input", () => sessionStorage.setItem("limner-key", field.value.trim()));
}
export const needsKey = Boolean(field);
export const key = () => field?.value.trim() || null;

export async function call(path, options = {}) {
  const headers = { ...(key() && { Authorization: `Bearer ${key()}` }), ...options.headers };
  const answer = await fetch(path.startsWith("/") ? path : `${api}/${path}`, { ...options, headers });
  if (answer.ok) return answer;
  const problem = await answer.json().catch(() => ({ detail: `The server returned an error (${answer.status}). Try again.` }));
  throw Object.assign(new Error(problem.detail), { problem });
}

export const getJson = async (path) => (await call(path)).json();

export async function send(method, path, body) {
  const headers = { "Content-Type": "application/json" };
  return (await call(path, { method, headers, body: JSON.stringify(body) })).json();
}

export async function pictureUrl(image, format = "png") {
  const url = `${image.url}?format=${format}`;
  if (!key()) return url; // an <img> cannot send a key, so the bytes are fetched here
  return URL.createObjectURL(await (await call(url)).blob());
}

export async function downloads(job, image) {
  const links = ["png", "webp", "jpeg"].map(async (format) => {
    const name = `${job.prompt.slice(0, 40)} ${image.seed}.${format}`;
    return Object.assign(document.createElement("a"), { textContent: format.toUpperCase(), href: await pictureUrl(image, format), download: name });
  });
  return Promise.all(links);
}

export function statusText(job) {
  if (job.not_before) return job.last_error ? "Trying again soon" : `Scheduled for ${new Date(job.not_before).toLocaleString()}`;
  if (job.status === "queued") return job.position ? `${job.position} ahead in the queue` : "Next in line";
  if (job.status === "running") return job.progress ? `Step ${job.progress.done} of ${job.progress.total}` : "Starting";
  return { failed: job.error?.message, canceled: "Canceled" }[job.status] || "";
}

// Returns a URL of a running job's preview, or null. The worker makes previews only on request, about once a second.
export async function fetchPreview(job) {
  const answer = await call(`jobs/${job.id}/preview`);
  return answer.status === 200 ? URL.createObjectURL(await answer.blob()) : null;
}

// Subscribes to server-sent events. EventSource cannot send a key, so with one the pages only poll. Events may be
// lost, so the pages poll as well.
export function listen(onJob, onProgress) {
  if (needsKey) return;
  const events = new EventSource(`${api}/events`);
  events.addEventListener("job", ({ data }) => onJob(JSON.parse(data).id));
  events.addEventListener("progress", ({ data }) => onProgress(JSON.parse(data)));
}
