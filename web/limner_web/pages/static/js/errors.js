// The API's errors in the words of the pages: they name the field as its label does.
import { isEnglish, t } from "./i18n.js";

export const OFFLINE = t("The service cannot be reached. Your work is kept; try again when the connection is back.");

const LABELS = { n: t("Pictures"), width: t("Size"), height: t("Size"), seed: t("Seed"), steps: t("Steps"), guidance: t("Guidance"), style: t("Style"), model: t("Model"), prompt: t("Prompt"), negative_prompt: t("Exclude"), description: t("Description"), image: t("Start picture"), mask: t("Mask"), strength: t("Strength"), control_image: t("Control picture"), control_scale: t("Control") };
const RULES = [
  [/^Describe the picture you want/, () => t("Describe the picture you want.")],
  [/valid integer|int_parsing|valid number/i, (label) => t("%(label)s must be a whole number.", { label })],
  [/greater than or equal to (-?[\d.]+)/i, (label, [, least]) => t("%(label)s must be at least %(least)s.", { label, least })],
  [/less than or equal to (-?[\d.]+)/i, (label, [, most]) => t("%(label)s must be at most %(most)s.", { label, most })],
  [/at most (\d+) characters/i, (label, [, most]) => t("%(label)s may have at most %(most)s characters.", { label, most })],
  [/finite number/i, (label) => t("%(label)s must be a number.", { label })],
  [/field required/i, (label) => t("%(label)s is missing.", { label })],
];
const BY_STATUS = {
  403: t("This is not allowed."), 404: t("This no longer exists."), 413: t("This is too large to send."), 429: t("You have reached a limit. Wait a moment and try again."),
  502: t("The service is restarting. Try again in a few seconds."), 503: t("The service is busy. Try again in a few seconds."), 504: t("The service did not answer in time. Try again."),
};
// Why a job failed.
const FAILURES = {
  worker_lost: t("The worker stopped before the picture was finished."),
  deadline_exceeded: t("The picture was not finished before its time limit."),
  generation_failed: t("The model could not draw this picture."),
  out_of_memory: t("The picture does not fit into the worker's memory. Choose a smaller size."),
  storage_full: t("The disk that stores the pictures is full."),
};
// In English, the service's own words say more.
const BY_CODE = {
  moderation_blocked: t("The text or the picture is not allowed here. Ask for something else."),
  unauthorized: t("This API key is not valid, or has expired."),
  submit_scope_required: t("This needs a key with the scope submit."),
  read_scope_required: t("This needs a key with the scope read."),
  admin_scope_required: t("This needs a key with the scope admin."),
  operator_required: t("Only the operator may do this."),
  negative_prompt_unsupported: t("This model cannot leave things out."),
  model_not_found: t("There is no such model."),
  not_found: BY_STATUS[404], gone: BY_STATUS[404], forbidden: BY_STATUS[403], body_too_large: BY_STATUS[413], limit_reached: BY_STATUS[429], overloaded: BY_STATUS[503], service_unavailable: BY_STATUS[503],
  limit_too_low: t("This is more than this account may ask for at once."),
  invalid_state: t("This is no longer possible: the job has changed meanwhile."),
  invalid_link: t("This link is not valid."),
  link_expired: t("This link has expired."),
  request_timeout: t("The connection is too slow. Try again."),
  interpreter_unavailable: t("No worker reads descriptions now. Write a prompt instead."),
  storage_failed: t("The pictures cannot be stored or read now. Try again later."),
  safety_unavailable: t("The picture could not be checked, so it was not kept. Try again later."),
  signing_failed: t("The picture could not be signed, so it was not kept. Try again later."),
  model_unavailable: t("No worker serves this model now."),
  damaged_input: t("The picture to start from is damaged. Send it again."),
  webhook_unreachable: t("The webhook gave no answer. Check its address."),
  webhook_not_sent: t("No dispatcher has sent the event yet."),
  ...FAILURES,
};

const ofCode = (code) => (isEnglish ? null : BY_CODE[code]);

function fieldError({ field, message }) {
  const label = LABELS[field?.split(".").at(-1)] || field;
  for (const [pattern, words] of RULES) {
    const match = message.match(pattern);
    if (match && label) return words(label, match);
  }
  return message;
}

export function explain(problem, status) {
  if (problem.errors?.length && problem.code === "invalid_request") return [...new Set(problem.errors.map(fieldError))].join(" ");
  return ofCode(problem.code) || problem.detail || BY_STATUS[status] || t("The service answered with an error (%(status)s). Try again.", { status });
}

export const failure = (job) => FAILURES[job.error?.code] || ofCode(job.error?.code) || job.error?.message || t("The picture could not be drawn.");

// The names of the form's fields that an error concerns.
export const fieldsOf = (problem) => [problem.field, ...(problem.errors || []).map(({ field }) => field)].filter(Boolean);
