// The lines of a bulk that failed, grouped by their reason. They are read when a reader asks for them.
import { api, getJson } from "./api.js";
import { el } from "./dom.js";
import { failure } from "./errors.js";
import { number, t, tn } from "./i18n.js";
import { attempt } from "./toast.js";

const PAGE = 100;
const MOST = 300;
const AGAIN_MS = 10_000; // between two readings while more lines fail
const read = new Map(); // bulk id -> {jobs, failed, at, isAwaited}: what was read when that many had failed

// The failed jobs of a bulk in the order of its lines, with `most` the newest of them.
export async function readFailed(bulk, most = Infinity) {
  const jobs = [];
  let cursor = "";
  do {
    const page = await getJson(`jobs?bulk=${bulk}&status=failed&limit=${PAGE}${cursor && `&cursor=${cursor}`}`);
    jobs.push(...page.items);
    cursor = page.next;
  } while (cursor && jobs.length < most);
  return jobs.sort((a, b) => a.line - b.line);
}

function group(reason, jobs) {
  const rows = jobs.map(({ id, line, prompt }) => el("tr", {}, el("td", {}, t("Line %(n)s", { n: number(line) })), el("td", {}, el("a", { href: `/?remix=${id}`, title: t("Remix in the studio") }, prompt))));
  return el("section", { data: { name: reason } }, el("h4", {}, reason, el("span", { className: "badge failed" }, number(jobs.length))), el("div", { className: "errors", tabIndex: 0, aria: { role: "group", label: reason } }, el("table", {}, el("tbody", {}, rows))));
}

function shown(jobs, bulk, failed) {
  const rest = failed > jobs.length && el("p", { className: "quiet" }, tn("%(n)s failed line is shown.", "%(n)s failed lines are shown.", jobs.length), " ", el("a", { href: `${api}/bulks/${bulk}/results`, download: `${bulk}.jsonl` }, t("The results have all of them.")));
  return [...[...Map.groupBy(jobs, failure)].map(([reason, members]) => group(reason, members)), rest].filter(Boolean);
}

// The fold of a bulk's card; `redraw()` draws the card again.
export function failedLines(bulk, failed, redraw) {
  const known = read.get(bulk);
  const load = async () => {
    const jobs = await attempt(() => readFailed(bulk, MOST));
    if (jobs) read.set(bulk, { jobs, failed, at: Date.now() });
    else read.delete(bulk);
    if (jobs) redraw();
  };
  const isOld = known && known.failed !== failed && !known.isAwaited;
  if (isOld) { known.isAwaited = true; setTimeout(load, known.at + AGAIN_MS - Date.now()); }
  const body = known ? shown(known.jobs, bulk, failed) : [el("p", { className: "quiet" }, t("Loading …"))];
  const fold = el("details", { className: "failed-lines", data: { name: "failed-lines" } }, el("summary", {}, t("Failed lines and their reasons")), body);
  fold.addEventListener("toggle", () => { if (fold.open && !read.has(bulk)) load(); });
  return fold;
}
