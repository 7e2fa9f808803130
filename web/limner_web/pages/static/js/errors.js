// The API's errors in the words of the pages: they name the field as its label does.
export const OFFLINE = "The service cannot be reached. Your work is kept; try again when the connection is back.";

const LABELS = { n: "Pictures", width: "Size", height: "Size", seed: "Seed", steps: "Steps", guidance: "Guidance", style: "Style", model: "Model", prompt: "Prompt", negative_prompt: "Exclude", description: "Description", image: "Start picture", mask: "Mask", strength: "Strength" };
const RULES = [
  [/valid integer|int_parsing|valid number/i, () => "must be a whole number"],
  [/greater than or equal to (-?[\d.]+)/i, ([, least]) => `must be at least ${least}`],
  [/less than or equal to (-?[\d.]+)/i, ([, most]) => `must be at most ${most}`],
  [/at most (\d+) characters/i, ([, most]) => `may have at most ${most} characters`],
  [/finite number/i, () => "must be a number"],
  [/field required/i, () => "is missing"],
];
const BY_STATUS = { 403: "This is not allowed.", 404: "This no longer exists.", 413: "This is too large to send.", 429: "You have reached a limit. Wait a moment and try again.", 502: "The service is restarting. Try again in a few seconds.", 503: "The service is busy. Try again in a few seconds.", 504: "The service did not answer in time. Try again." };
const BY_CODE = {
  worker_lost: "The worker stopped before the picture was finished.",
  deadline_exceeded: "The picture was not finished before its time limit.",
  generation_failed: "The model could not draw this picture.",
  out_of_memory: "The picture does not fit into the worker's memory. Choose a smaller size.",
  storage_full: "The disk that stores the pictures is full.",
};

function fieldError({ field, message }) {
  const label = LABELS[field?.split(".").at(-1)] || field;
  for (const [pattern, words] of RULES) {
    const match = message.match(pattern);
    if (match && label) return `${label} ${words(match)}.`;
  }
  return message;
}

export function explain(problem, status) {
  if (problem.errors?.length && problem.code === "invalid_request") return [...new Set(problem.errors.map(fieldError))].join(" ");
  return problem.detail || BY_STATUS[status] || `The service answered with an error (${status}). Try again.`;
}

// Why a job failed.
export const failure = (job) => BY_CODE[job.error?.code] || job.error?.message || "The picture could not be drawn.";

// The names of the form's fields that an error concerns.
export const fieldsOf = (problem) => [problem.field, ...(problem.errors || []).map(({ field }) => field)].filter(Boolean);
