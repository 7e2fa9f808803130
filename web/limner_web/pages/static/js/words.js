// Says in words what a job is, where it stands and how long it takes.
import { failure } from "./errors.js";

export const ended = (job) => ["succeeded", "failed", "canceled"].includes(job.status);

export function duration(seconds) {
  if (seconds < 10) return "a few seconds";
  if (seconds < 55) return `about ${Math.round(seconds / 5) * 5} seconds`;
  if (seconds < 90) return "about a minute";
  if (seconds < 3000) return `about ${Math.round(seconds / 60)} minutes`;
  if (seconds < 5400) return "about an hour";
  return seconds < 172_800 ? `about ${Math.round(seconds / 3600)} hours` : `about ${Math.round(seconds / 86_400)} days`;
}

export const count = (number, one, many = `${one}s`) => `${number.toLocaleString("en")} ${number === 1 ? one : many}`;

// The state of a job in two short lines: {said, detail}.
export function status(job, now = Date.now()) {
  if (job.status === "failed") return { said: "This did not work", detail: failure(job) };
  if (job.status === "succeeded") return { said: job.images.length ? "Done" : "Its pictures were deleted", detail: "" };
  if (job.status === "canceled") return { said: "Canceled", detail: "" };
  if (job.status === "running") {
    if (!job.progress) return { said: job.description && !job.interpretation ? "Reading your words" : "Starting", detail: "" };
    return { said: `Step ${job.progress.done} of ${job.progress.total}`, detail: timeLeft(job, now) };
  }
  if (job.paused) return { said: "On hold", detail: pauseWords(job.paused) };
  if (job.not_before) {
    if (job.last_error) return { said: "Trying again soon", detail: failure({ error: job.last_error }) };
    return { said: "Scheduled", detail: new Date(job.not_before).toLocaleString() };
  }
  if (job.position === 0) return { said: "Next in line", detail: "" };
  if (job.position) return { said: job.position >= 1000 ? "More than 1,000 ahead" : `${count(job.position, "job")} ahead`, detail: "It starts by itself; you can close the page." };
  return { said: "Waiting", detail: "" };
}

// What is paused, why, and until when.
export function pauseWords({ what, reason, until }) {
  const words = what === "model" ? "The operator has paused this model" : "The operator has paused your jobs";
  return [`${words}${reason ? `: ${reason}` : ""}`, until && `until ${new Date(until).toLocaleString()}`].filter(Boolean).join(", ");
}

function timeLeft(job, now) {
  const { done, total } = job.progress;
  const seconds = (now - new Date(job.started_at || now)) / 1000;
  if (!job.started_at || done < 2 || seconds < 2) return "";
  return `${duration((seconds / done) * (total - done))} left`;
}

// The alternative text says what a picture shows; the built-in models may draw only part of a prompt.
export function drawnAs(job) {
  const [image] = job.images;
  const shown = image?.alt_text?.replace(` (${image.style})`, "");
  return shown && shown !== job.prompt ? shown : null;
}

// Of a job, or of one of its pictures.
export function facts(job, image = null) {
  const as = drawnAs(job);
  const styles = [...new Set((image ? [image] : job.images).map(({ style }) => style))].filter(Boolean);
  return [as && `drawn as “${as}”`, styles.join(", ") || job.style, `${job.width} × ${job.height}`, job.n > 1 && !image && count(job.n, "picture"), `seed ${(image ?? job).seed}`].filter(Boolean).join(" · ");
}

export const size = (bytes) => (bytes < 1e6 ? `${Math.max(1, Math.round(bytes / 1e3))} kB` : `${(bytes / 1e6).toFixed(1)} MB`);

export const fileName = (job, image, format = "png") =>
  `${job.prompt.replace(/[^\p{L}\p{N}]+/gu, " ").trim().slice(0, 40) || "picture"} ${image.seed}.${format === "jpeg" ? "jpg" : format}`;
