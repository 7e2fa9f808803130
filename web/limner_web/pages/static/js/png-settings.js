// Reads how a picture was made from its file or its text: what A1111 and its relatives write as `parameters` of a PNG,
// and what our own pictures state, which is all but the prompt.
const SIGNATURE = [137, 80, 78, 71, 13, 10, 26, 10];
const MOST_CHARS = 100_000;
const NAMES = { steps: "Steps", guidance: "CFG scale", seed: "Seed", size: "Size", model: "Model", style: "Style" };
const NEGATIVE = "Negative prompt:";

// Whether a text ends as `parameters` do.
export const isParameters = (text) => /(^|\n)Steps: \d+, /.test(text);

// The settings of such a text: {prompt, negative_prompt, steps, guidance, seed, size, model, style}, those that it has.
export function readParameters(text) {
  const lines = text.trim().split("\n");
  const last = isParameters(text) ? lines.pop() : "";
  const [prompt, without = ""] = lines.join("\n").split(NEGATIVE);
  const found = { prompt: prompt.trim(), negative_prompt: without.trim() };
  for (const [name, theirs] of Object.entries(NAMES)) {
    const value = last.match(new RegExp(`(?:^|, )${theirs}: ("(?:\\\\.|[^\\\\"])*"|[^,]*)`))?.[1];
    if (value) found[name] = value.replace(/^"|"$/g, "").trim();
  }
  return found;
}

// The same of a picture file, or null if it does not say.
export async function settingsIn(file) {
  const texts = textsIn(new Uint8Array(await file.arrayBuffer()));
  if (texts.parameters) return readParameters(texts.parameters.slice(0, MOST_CHARS));
  return readStatement(texts["XML:com.adobe.xmp"]);
}

function readStatement(xmp) {
  const root = xmp && new DOMParser().parseFromString(xmp.slice(0, MOST_CHARS), "application/xml");
  const attributes = root ? [...root.querySelectorAll("*")].flatMap((each) => [...each.attributes]) : [];
  const own = Object.fromEntries(attributes.filter(({ prefix }) => prefix === "limner").map(({ localName, value }) => [localName, value]));
  return own.model ? own : null;
}

// The texts of a PNG by their keywords; of another file, or after a chunk that is cut off, none.
function textsIn(bytes) {
  const found = {};
  if (!SIGNATURE.every((byte, at) => bytes[at] === byte)) return found;
  const view = new DataView(bytes.buffer);
  for (let at = 8; at + 12 <= bytes.length;) {
    const end = at + 8 + view.getUint32(at);
    const type = String.fromCharCode(...bytes.subarray(at + 4, at + 8));
    if (end + 4 > bytes.length || type === "IEND") break;
    const text = { tEXt: plainText, iTXt: unicodeText }[type]?.(bytes.subarray(at + 8, end));
    if (text) found[text[0]] ??= text[1];
    at = end + 4;
  }
  return found;
}

const latin = (bytes) => new TextDecoder("latin1").decode(bytes);

function plainText(data) {
  const end = data.indexOf(0);
  return end > 0 ? [latin(data.subarray(0, end)), latin(data.subarray(end + 1))] : null;
}

// Keyword, whether it is compressed, how, language and translated keyword come before the text.
function unicodeText(data) {
  const end = data.indexOf(0);
  if (end < 1 || data[end + 1] !== 0) return null;
  const language = data.indexOf(0, end + 3);
  const translated = data.indexOf(0, language + 1);
  return language < 0 || translated < 0 ? null : [latin(data.subarray(0, end)), new TextDecoder().decode(data.subarray(translated + 1))];
}
