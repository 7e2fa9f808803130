// Calls of the native API. Every failure becomes an ApiError whose message says in plain words what to do.
import { back, lost } from "./connection.js";
import { explain, OFFLINE } from "./errors.js";

export const api = "/api/v1";

export class ApiError extends Error {
  constructor(message, status, problem = {}) {
    super(message);
    Object.assign(this, { status, problem });
  }
}

let replacements = 0; // of the key of this session
let replacement = null; // the one in progress

// While `work` replaces the key of this session, other calls may be refused, because they were sent with the old one: they
// wait, and are made again. The calls of `work` itself have the option `replaces`.
export async function whileReplacingKey(work) {
  replacements += 1;
  replacement = work();
  try {
    return await replacement;
  } finally {
    replacement = null;
  }
}

let slowUntil = 0;

// Whether the service has asked for fewer requests: then what a page reads of itself waits.
export const slowedFor = () => Math.max(0, slowUntil - Date.now()); // milliseconds
export const isSlowed = () => slowedFor() > 0;

// Runs `work`, which calls the service, again each time that it is refused for too many requests, after the wait asked for.
export async function patiently(work) {
  for (;;) {
    try {
      return await work();
    } catch (error) {
      if (error.status !== 429 || !isSlowed()) throw error;
      await new Promise((go) => { setTimeout(go, slowedFor()); });
    }
  }
}

export async function call(path, options = {}) {
  const before = replacement && !options.replaces ? -1 : replacements;
  let answer;
  try {
    answer = await fetch(path.startsWith("/") ? path : `${api}/${path}`, options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    lost();
    throw new ApiError(OFFLINE, 0);
  }
  back();
  if (answer.ok) return answer;
  if (answer.status === 401 && !options.replaces && before !== replacements) {
    await replacement?.catch(() => {}); // the replacement reports its own error
    return call(path, { ...options, replaces: true });
  }
  if (answer.status === 401) location.assign(`/sign-in?next=${encodeURIComponent(location.pathname + location.search + location.hash)}`);
  slowUntil = Math.max(slowUntil, Date.now() + 1000 * (Number(answer.headers.get("Retry-After")) || 0));
  const problem = await answer.json().catch(() => ({}));
  throw new ApiError(explain(problem, answer.status), answer.status, problem);
}

export const getJson = async (path, options) => (await call(path, options)).json();

// A picture that a job was given, by the field of its request.
export const inputUrl = ({ id }, field = "image") => `${api}/jobs/${id}/input?field=${field}`;

// Sends a request that changes something; `body` becomes JSON. Returns the response's JSON, or null without one.
export async function send(method, path, body) {
  const json = body === undefined ? {} : { headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) };
  const answer = await call(path, { method, ...json });
  return answer.status === 204 ? null : answer.json();
}

// Whether a request may have made its thing although it failed. The refusal of a request has made nothing, but for one that
// finds the same bulk still being read.
const mayBeMade = ({ status, problem }) => !(status >= 400 && status < 500) || problem.code === "bulk_loading";
const unanswered = new Map(); // what was sent and had no answer, as a text or the file -> its idempotency key

const newKey = () => [...crypto.getRandomValues(new Uint32Array(4))].map((part) => part.toString(16).padStart(8, "0")).join("");

// Sends a request that makes something; `body` is text or a file. Its answer may be lost although the thing was made: sent
// again unchanged, the request has the same idempotency key, so that the thing is made once.
export async function make(path, body, { method = "POST", type = "application/json", key: given } = {}) {
  const content = body instanceof Blob ? body : `${method} ${path}\n${body}`;
  const key = given ?? unanswered.get(content) ?? newKey();
  unanswered.delete(content);
  try {
    const headers = { "Idempotency-Key": key, ...(body !== undefined && { "Content-Type": type }) };
    return await (await call(path, { method, body, headers })).json();
  } catch (error) {
    if (mayBeMade(error)) unanswered.set(content, key);
    throw error;
  }
}

// A small picture of at most this width, which must be one that the API offers.
export const thumbnailUrl = (image, width) => (image.width > width ? `${image.url}?format=webp&width=${width}` : pictureUrl(image));

export const pictureUrl = (image, format) => `${image.url}${format ? `?format=${format}` : ""}`;
