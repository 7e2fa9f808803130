// Says why a job waits: the reason in words, the numbers behind it, and what the operator has paused.
import { getJson } from "./api.js";
import { tell } from "./dialog.js";
import { el } from "./dom.js";
import { dateTime, isEnglish, number, t, tn } from "./i18n.js";
import { attempt } from "./toast.js";
import { count, duration, pauseWords } from "./words.js";

const row = (name, value) => (value === null ? [] : [el("dt", {}, name), el("dd", {}, value)]);

const WORDS = {
  running: () => t("A worker is drawing it."),
  ended: () => t("It has ended."),
  paused: () => t("Its bulk is paused: resume it to continue."),
  loading: () => t("Its bulk is still being uploaded."),
  limited: () => t("As many jobs as your limit allows are released or running."),
  no_worker: () => t("No worker that runs serves its model."),
  no_dispatcher: () => t("No dispatcher runs that could release it."),
  scheduled: (job) => t("It is scheduled for %(time)s.", { time: dateTime(job.not_before) }),
  retrying: (job) => t("It failed and is tried again at %(time)s.", { time: dateTime(job.not_before) }),
  queued: (job, { ahead }) => (ahead ? tn("%(n)s job is ahead of it.", "%(n)s jobs are ahead of it.", ahead) : t("It is the next one for the workers.")),
};

// In English, the service's own words say more, but for times, which it counts in seconds.
export function reasonOf(job, told) {
  if (job.paused) return t("%(pause)s. Its jobs wait and keep their places.", { pause: pauseWords(job.paused) });
  return (isEnglish && !job.not_before ? null : WORDS[told.reason]?.(job, told)) ?? told.message;
}

export const why = (job) => attempt(async () => {
  const told = await getJson(`jobs/${job.id}/explain`);
  const { lane, ahead, tenants, workers, rate, eta } = told;
  const facts = el("dl", { className: "facts-list" },
    row(t("Ready in"), eta && t("%(median)s; nine of ten such jobs take at most %(most)s", { median: duration(eta.median_seconds), most: duration(eta.p90_seconds) })),
    row(t("Ahead of it"), ahead === null ? null : count(ahead, "job")), row(t("Lane"), lane), row(t("Take turns"), tenants > 1 ? count(tenants, "tenant") : null),
    row(t("Serve its model"), workers === null ? null : count(workers, "worker")), row(t("Pace of its model"), rate && t("%(n)s jobs a minute", { n: number(rate.jobs_per_minute) })));
  tell(t("Why is it waiting?"), el("p", {}, reasonOf(job, told)), facts);
});
