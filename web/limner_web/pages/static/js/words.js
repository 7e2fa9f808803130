// Says in words what a job is, where it stands and how long it takes.
import { failure } from "./errors.js";
import { dateTime, number, t, tn } from "./i18n.js";

const MANY_AHEAD = 1000; // from here, the service counts no further
const MANY_STEPS = 1000;

export const PRIORITY = { high: t("high priority"), normal: t("normal priority"), low: t("low priority") };

export const ended = (job) => ["succeeded", "failed", "canceled"].includes(job.status);

export function duration(seconds) {
  if (seconds < 10) return t("a few seconds");
  if (seconds < 55) return t("about %(n)s seconds", { n: Math.round(seconds / 5) * 5 });
  if (seconds < 90) return t("about a minute");
  if (seconds < 3000) return t("about %(n)s minutes", { n: Math.round(seconds / 60) });
  if (seconds < 5400) return t("about an hour");
  return seconds < 172_800 ? t("about %(n)s hours", { n: Math.round(seconds / 3600) }) : t("about %(n)s days", { n: number(Math.round(seconds / 86_400)) });
}

export const durationLeft = (seconds) => t("%(time)s left", { time: duration(seconds) });

const COUNTS = {
  job: (n) => tn("%(n)s job", "%(n)s jobs", n),
  picture: (n) => tn("%(n)s picture", "%(n)s pictures", n),
  tenant: (n) => tn("%(n)s tenant", "%(n)s tenants", n),
  worker: (n) => tn("%(n)s worker", "%(n)s workers", n),
};

// A number of jobs, pictures, tenants or workers.
export const count = (n, what) => COUNTS[what](n);

// The state of a job in two short lines: {said, detail}.
export function status(job, now = Date.now()) {
  if (job.status === "failed") return { said: t("This did not work"), detail: failure(job) };
  if (job.status === "succeeded") return { said: job.images.length ? t("Done") : t("Its pictures were deleted"), detail: "" };
  if (job.status === "canceled") return { said: t("Canceled"), detail: "" };
  if (job.status === "running") {
    if (!job.progress) return { said: job.description && !job.interpretation ? t("Reading your words") : t("Starting"), detail: "" };
    return { said: progressWords(job.progress), detail: timeLeft(job, now) };
  }
  if (job.paused) return { said: t("On hold"), detail: pauseWords(job.paused) };
  if (job.not_before) {
    if (job.last_error) return { said: t("Trying again soon"), detail: failure({ error: job.last_error }) };
    return { said: t("Scheduled"), detail: dateTime(job.not_before) };
  }
  if (job.position === 0) return { said: t("Next in line"), detail: "" };
  if (job.position) {
    const said = job.position >= MANY_AHEAD ? t("More than %(n)s ahead", { n: number(MANY_AHEAD) }) : tn("%(n)s job ahead", "%(n)s jobs ahead", job.position);
    return { said, detail: t("It starts by itself; you can close the page.") };
  }
  return { said: t("Waiting"), detail: "" };
}

// The steps of all pictures of a job together: large numbers say nothing that their share does not.
const progressWords = ({ done, total }) => (total < MANY_STEPS ? t("Step %(done)s of %(total)s", { done, total }) : number(done / total, { style: "percent" }));

// What is paused, why, and until when.
export function pauseWords({ what, own, reason, until }) {
  const words = own ? t("You have paused your queue") : what === "model" ? t("The operator has paused this model") : t("The operator has paused your jobs");
  return [`${words}${reason ? `: ${reason}` : ""}`, until && t("until %(time)s", { time: dateTime(until) })].filter(Boolean).join(", ");
}

// How long a pause may last, in seconds, and its end.
export const PAUSE_KEEPS = t("Jobs that run are still finished. Those that wait keep their places, and new ones are accepted.");
export const PAUSE_TIMES = [["", t("until I resume it")], [900, t("for 15 minutes")], [3600, t("for an hour")], [14_400, t("for four hours")], [86_400, t("for a day")]];
export const pauseEnd = (seconds) => (Number(seconds) ? new Date(Date.now() + seconds * 1000).toISOString() : null);

function timeLeft(job, now) {
  const { done, total } = job.progress;
  const seconds = (now - new Date(job.started_at || now)) / 1000;
  if (!job.started_at || done < 2 || seconds < 2) return "";
  return durationLeft((seconds / done) * (total - done));
}

export const thingWords = ({ count: n = 1, colour, name }) => [n > 1 && `${number(n)} ×`, colour, name].filter(Boolean).join(" ");

// What a job's first picture shows, where that is not the whole prompt: a known name, or the things of a scene.
export function drawnAs({ images: [image] }) {
  const { scene, drawn_as: name } = image ?? {};
  const isLess = scene && (scene.left_out.length > 0 || scene.objects.some(({ exact }) => !exact));
  return isLess ? scene.objects.map(thingWords).join(", ") : name ?? null;
}

// Of a job, or of one of its pictures; what matters most first.
export function factsOf(job, image = null) {
  const as = drawnAs(job);
  const styles = [...new Set((image ? [image] : job.images).map(({ style }) => style))].filter(Boolean);
  return [as && t("drawn as “%(thing)s”", { thing: as }), styles.join(", ") || job.style, `${job.width} × ${job.height}`, job.n > 1 && !image && count(job.n, "picture"), t("seed %(seed)s", image ?? job)].filter(Boolean);
}

export const facts = (job, image = null) => factsOf(job, image).join(" · ");

export const enlargeLabel = (job, image) => t("Enlarge: %(prompt)s, seed %(seed)s", { prompt: job.prompt, seed: image.seed });

export const size = (bytes) => (bytes < 1e6 ? `${Math.max(1, Math.round(bytes / 1e3))} kB` : `${number(bytes / 1e6, { maximumFractionDigits: 1 })} MB`);

export function fileName(job, image, format = "png") {
  const words = job.prompt.replace(/[^\p{L}\p{N}]+/gu, " ").trim().slice(0, 40);
  return `${words || t("picture")} ${image.seed}.${format === "jpeg" ? "jpg" : format}`;
}

export const formatName = (format) => ({ webp: "WebP" })[format] ?? format.toUpperCase();
