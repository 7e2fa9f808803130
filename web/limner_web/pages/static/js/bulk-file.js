// Reads a bulk from plain text, CSV or JSON Lines, and checks each line before anything is sent. The file may be as large as
// the service takes: the page answers meanwhile, and what is sent is the file itself where it can be.
import { linesOf, PART, slices } from "./bulk-lines.js";
import { countKind } from "./cost.js";
import { number, t } from "./i18n.js";
const NUMBERS = ["n", "seed", "steps", "width", "height", "guidance", "strength", "max_retries", "guidance_rescale"];
const MOST_ERRORS = 200;

// Returns {format, lines, jobs, kinds, errors: [{line, message}], bad, body, lineOf}: how many lines are good, the jobs that
// they ask for, and their kinds for an estimate; what is wrong with the first bad lines, and how many there are; JSON Lines
// of the good lines, and the file's line of each line of these. `models` are the service's; `refused` are lines that the
// service has found to be bad, each with its message; `onShare` is told which share of the file has been read.
export async function readBulk(file, models, limits, { refused = new Map(), onShare = () => {}, signal = null } = {}) {
  const format = guess(await file.slice(0, PART).text());
  let place = 0; // in the file, in bytes
  const work = slices(() => { signal?.throwIfAborted(); onShare(place / file.size); });
  const entries = { jsonl: fromJsonLines, csv: fromCsv, text: fromText }[format](linesOf(file, work), limits.lines);
  const read = { format, lines: 0, jobs: 0, kinds: new Map(), errors: [], bad: 0 };
  const sent = written(file, format === "jsonl");
  let [total, good, bad] = [0, 0, 0]; // the entries, and the last line that was good and that was bad
  for await (const entry of entries) {
    const { line, request, message, isTooMany } = entry;
    place = entry.end;
    total += 1;
    if (isTooMany || total > limits.lines) return { ...read, lines: 0, jobs: 0, bad: read.bad + 1, errors: [{ line, message: t("A bulk may have at most %(n)s lines.", { n: number(limits.lines) }) }, ...read.errors] };
    const wrong = refused.get(line) ?? message ?? check(request, models);
    if (!wrong) {
      if (line !== good) read.lines += 1;
      good = line;
      read.jobs += 1;
      countKind(read.kinds, request);
      sent.keep(entry);
    } else if (line !== bad) {
      bad = line;
      read.bad += 1;
      if (read.errors.length < MOST_ERRORS) read.errors.push({ line, message: wrong });
      sent.leaveOut(entry);
    }
    if (work.isOver()) await work.next(); // a line may have many choices
  }
  return { ...read, ...sent.all() };
}

// What is sent of a file: one of JSON Lines itself, as far as its first bad line; what follows, and what another format
// means, is written out, in parts that a browser may keep on its disk.
function written(file, isAsItIs) {
  let parts = isAsItIs ? null : [];
  let before = 0; // the lines of the file that are sent as they are
  let text = "";
  const lines = []; // those of the file that are written out
  return {
    keep(entry) {
      if (!parts) return;
      lines.push(entry.line);
      text += `${entry.text ?? JSON.stringify(entry.request)}\n`;
      if (text.length > PART) { parts.push(new Blob([text])); text = ""; }
    },
    leaveOut({ line, begin }) {
      if (parts) return;
      parts = [file.slice(0, begin)];
      before = line - 1;
    },
    all: () => ({ body: parts ? new Blob([...parts, text]) : file, lineOf: (line) => (parts && line > before ? lines[line - before - 1] : line) }),
  };
}

const tooLong = (line, end) => ({ line, end, message: t("This line is too long.") });

function guess(text) {
  const first = text.replace(/^\uFEFF/, "").trimStart().split("\n", 1)[0] || "";
  if (/^\{\s*(["}]|$)/.test(first)) return "jsonl";
  const names = first.toLowerCase().split(/[,;\t]/).map((name) => name.trim().replaceAll('"', ""));
  return names.length > 1 && (names.includes("prompt") || names.includes("description")) ? "csv" : "text";
}

// One request a line, or one for each combination of its choices. A line that would be too many is not written out. An empty
// line is nothing; an empty combination counts, because there may be as many of them.
async function* fromText(lines, most) {
  let combined = 0;
  for await (const { text, number: line, end } of lines) {
    if (text === null) { yield tooLong(line, end); continue; }
    if (!text.trim()) continue;
    combined += combinationsIn(text);
    if (combined > most) { yield { line, end, isTooMany: true }; return; }
    for (const prompt of combinations(text)) if (prompt) yield { line, end, request: { prompt } };
  }
}

// How many there are: each group of choices multiplies them. Braces without a choice, and around such, are text.
function combinationsIn(text) {
  const open = [];
  let product = 1;
  for (const sign of text) {
    if (sign === "{") open.push({ choices: 1, isText: false });
    if (sign === "|" && open.length) open.at(-1).choices += 1;
    if (sign !== "}" || !open.length) continue;
    const { choices, isText } = open.pop();
    if (choices > 1 && !isText) product *= choices;
    else if (open.length) open.at(-1).isText = true;
  }
  return product;
}

// The texts that `a {red|blue} fox` stands for.
function* combinations(text) {
  const found = text.match(/\{([^{}]*\|[^{}]*)\}/);
  if (!found) { yield text.replace(/\s+/g, " ").trim(); return; }
  const [before, after] = [text.slice(0, found.index), text.slice(found.index + found[0].length)];
  for (const choice of found[1].split("|")) yield* combinations(before + choice + after);
}

async function* fromJsonLines(lines) {
  for await (const { text, number: line, begin, end } of lines) {
    if (text === null) yield { ...tooLong(line, end), begin };
    else if (text.trim()) yield { line, begin, end, text, ...parsed(text) };
  }
}

function parsed(text) {
  try {
    const request = JSON.parse(text);
    const isObject = request !== null && typeof request === "object" && !Array.isArray(request);
    return isObject ? { request } : { message: t("This line is not a JSON object.") };
  } catch {
    return { message: t("This line is not JSON.") };
  }
}

async function* fromCsv(lines) {
  let fields = null;
  for await (const { cells, ...row } of csvRows(lines)) {
    if (!cells) yield row;
    else if (!cells.some((cell) => cell.trim())) continue;
    else if (fields) yield { ...row, ...requestIn(cells, fields) };
    else fields = cells.map((name) => name.trim().toLowerCase());
  }
}

function requestIn(cells, fields) {
  if (cells.length > fields.length) return { message: t("This line has %(columns)s columns, the first line has %(first)s.", { columns: cells.length, first: fields.length }) };
  const request = {};
  for (const [at, cell] of cells.entries()) {
    const name = fields[at];
    if (cell.trim() === "") continue;
    request[name] = NUMBERS.includes(name) && Number.isFinite(Number(cell)) ? Number(cell) : cell.trim();
  }
  return { request };
}

// Rows of lines of CSV (RFC 4180), each with the line it begins in. A quoted cell may go on in the lines that follow.
async function* csvRows(lines) {
  let [cells, cell, isQuoted, line, separator, end] = [[], "", false, 1, "", 0];
  for await (const { text, number: at, end: to } of lines) {
    end = to;
    if (!isQuoted) line = at;
    if (text === null || cell.length > PART) {
      yield tooLong(line, end);
      [cells, cell, isQuoted] = [[], "", false];
      continue;
    }
    separator ||= text.trim() && [",", ";", "\t"].toSorted((a, b) => text.split(b).length - text.split(a).length)[0];
    for (let place = 0; place < text.length; place += 1) {
      const char = text[place];
      if (isQuoted && char === '"' && text[place + 1] === '"') { cell += '"'; place += 1; }
      else if (char === '"' && (isQuoted || cell === "")) isQuoted = !isQuoted;
      else if (char === separator && !isQuoted) { cells.push(cell); cell = ""; }
      else if (char !== "\r" || isQuoted) cell += char;
    }
    if (isQuoted) { cell += "\n"; continue; }
    yield { line, end, cells: [...cells, cell] };
    [cells, cell] = [[], ""];
  }
  if (isQuoted) yield { line, end, cells: [...cells, cell] };
}

// What is wrong with a request, or null. The service checks everything again; this finds what it can without it.
export function check(request, models) {
  const { prompt, description, model: name, style, width, height, n } = request;
  const model = name === undefined ? models.find((each) => each.default) : models.find((each) => each.name === name);
  if (![prompt, description].some((text) => typeof text === "string" && text.trim())) return t("The prompt is missing.");
  if (!model) return t("There is no model “%(name)s”.", { name });
  if (typeof prompt === "string" && [...prompt].length > model.max_prompt_chars) return t("The prompt has more than %(n)s characters.", { n: number(model.max_prompt_chars) });
  if (style && !model.styles.includes(style)) return model.styles.length ? t("The model has no style “%(style)s”. It has %(styles)s.", { style, styles: model.styles.join(", ") }) : t("The model has no styles.");
  if ((width || height) && !model.sizes.includes(`${width}x${height}`)) return t("The size %(size)s is not one of %(sizes)s.", { size: `${width} × ${height}`, sizes: model.sizes.map((size) => size.replace("x", " × ")).join(", ") });
  for (const field of NUMBERS) if (request[field] !== undefined && typeof request[field] !== "number") return t("“%(field)s” must be a number.", { field });
  if (n !== undefined && (!Number.isInteger(n) || n < 1 || n > model.max_images)) return t("“n” must be a whole number from 1 to %(most)s.", { most: model.max_images });
  return null;
}
