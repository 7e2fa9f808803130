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
  const problem = await answer.json().catch(() => ({}));
  throw new ApiError(explain(problem, answer.status), answer.status, problem);
}

export const getJson = async (path, options) => (await call(path, options)).json();

// Sends a request that changes something; `body` becomes JSON. Returns the response's JSON, or null without one.
export async function send(method, path, body) {
  const json = body === undefined ? {} : { headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) };
  const answer = await call(path, { method, ...json });
  return answer.status === 204 ? null : answer.json();
}

// A small picture of at most this width, which must be one that the API offers.
export const thumbnailUrl = (image, width) => (image.width > width ? `${image.url}?format=webp&width=${width}` : pictureUrl(image));

export const pictureUrl = (image, format) => `${image.url}${format ? `?format=${format}` : ""}`;
