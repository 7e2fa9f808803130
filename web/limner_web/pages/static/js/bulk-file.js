// Reads a bulk from plain text, CSV or JSON Lines, and checks each line before anything is sent.
import { number, t } from "./i18n.js";
const NUMBERS = ["n", "seed", "steps", "width", "height", "guidance", "strength", "max_retries", "guidance_rescale"];
const MOST_ERRORS = 200;

// Returns {format, requests: [{line, request}], errors: [{line, message}], total}. `models` are the service's.
export function readBulk(text, models, limits) {
  const format = guess(text);
  const lines = { jsonl: fromJsonLines, csv: fromCsv, text: fromText }[format](text.replace(/^\uFEFF/, ""), limits.lines);
  const errors = [];
  const requests = [];
  for (const { line, request, message } of lines) {
    const wrong = message || check(request, models);
    if (!wrong) requests.push({ line, request });
    else if (errors.length < MOST_ERRORS) errors.push({ line, message: wrong });
  }
  if (lines.length > limits.lines) errors.unshift({ line: limits.lines + 1, message: t("A bulk may have at most %(n)s lines.", { n: number(limits.lines) }) });
  return { format, requests, errors, bad: lines.length - requests.length, total: lines.length };
}

function guess(text) {
  const first = text.replace(/^\uFEFF/, "").trimStart().split("\n", 1)[0] || "";
  if (/^\{\s*(["}]|$)/.test(first)) return "jsonl";
  const names = first.toLowerCase().split(/[,;\t]/).map((name) => name.trim().replaceAll('"', ""));
  return names.length > 1 && (names.includes("prompt") || names.includes("description")) ? "csv" : "text";
}

// One request a line, or one for each combination of its choices. A line that would be too many is not written out. An empty
// line is nothing; an empty combination counts, because there may be as many of them.
function fromText(text, most) {
  const found = [];
  let combined = 0;
  for (const [at, each] of text.split(/\r?\n/).entries()) {
    if (!each.trim()) continue;
    combined += combinationsIn(each);
    if (combined > most) {
      found.push({ line: at + 1, message: t("A bulk may have at most %(n)s lines.", { n: number(most) }) });
      return found;
    }
    for (const prompt of combinations(each)) if (prompt) found.push({ line: at + 1, request: { prompt } });
  }
  return found;
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

function fromJsonLines(text) {
  return text.split("\n").map((each, at) => {
    if (!each.trim()) return null;
    try {
      const request = JSON.parse(each);
      const isObject = request !== null && typeof request === "object" && !Array.isArray(request);
      return { line: at + 1, request, message: isObject ? null : t("This line is not a JSON object.") };
    } catch {
      return { line: at + 1, message: t("This line is not JSON.") };
    }
  }).filter(Boolean);
}

function fromCsv(text) {
  const first = text.split("\n", 1)[0];
  const separator = [",", ";", "\t"].toSorted((a, b) => first.split(b).length - first.split(a).length)[0];
  const [names, ...rows] = csvRows(text, separator);
  const fields = names.cells.map((name) => name.trim().toLowerCase());
  return rows.filter(({ cells }) => cells.some((cell) => cell.trim())).map(({ line, cells }) => {
    if (cells.length > fields.length) return { line, message: t("This line has %(columns)s columns, the first line has %(first)s.", { columns: cells.length, first: fields.length }) };
    const request = {};
    for (const [at, cell] of cells.entries()) {
      const name = fields[at];
      if (cell.trim() === "") continue;
      request[name] = NUMBERS.includes(name) && cell.trim() !== "" && Number.isFinite(Number(cell)) ? Number(cell) : cell.trim();
    }
    return { line, request };
  });
}

// Rows of a CSV text (RFC 4180), each with the line it begins in.
function csvRows(text, separator) {
  const rows = [];
  let [cells, cell, isQuoted, line, begins] = [[], "", false, 1, 1];
  const endRow = () => { rows.push({ line: begins, cells: [...cells, cell] }); [cells, cell] = [[], ""]; begins = line + 1; };
  for (let at = 0; at < text.length; at += 1) {
    const char = text[at];
    if (isQuoted && char === '"' && text[at + 1] === '"') { cell += '"'; at += 1; }
    else if (char === '"' && (isQuoted || cell === "")) isQuoted = !isQuoted;
    else if (char === separator && !isQuoted) { cells.push(cell); cell = ""; }
    else if (char === "\n") { if (isQuoted) cell += char; else endRow(); line += 1; }
    else if (char !== "\r" || isQuoted) cell += char;
  }
  if (cell || cells.length) endRow();
  return rows;
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
