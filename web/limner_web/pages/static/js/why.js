// Says why a job waits: the reason in words, the numbers behind it, and what the operator has paused.
import { getJson } from "./api.js";
import { tell } from "./dialog.js";
import { el } from "./dom.js";
import { attempt } from "./toast.js";
import { count, duration, pauseWords } from "./words.js";

const row = (name, value) => (value === null ? [] : [el("dt", {}, name), el("dd", {}, value)]);

function reasonOf(job, { message }) {
  return job.paused ? `${pauseWords(job.paused)}. Its jobs wait and keep their places.` : message;
}

export const why = (job) => attempt(async () => {
  const told = await getJson(`jobs/${job.id}/explain`);
  const { lane, ahead, tenants, workers, rate, eta } = told;
  const facts = el("dl", { className: "facts-list" },
    row("Ready in", eta && `${duration(eta.median_seconds)}; nine of ten such jobs take at most ${duration(eta.p90_seconds)}`),
    row("Ahead of it", ahead === null ? null : count(ahead, "job")), row("Lane", lane), row("Take turns", tenants > 1 ? count(tenants, "tenant") : null),
    row("Draw with its model", workers === null ? null : count(workers, "worker")), row("Pace of its model", rate && `${rate.jobs_per_minute.toLocaleString("en")} jobs a minute`));
  tell("Why is it waiting?", el("p", {}, reasonOf(job, told)), facts);
});
