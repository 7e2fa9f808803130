// The lines of a file of any size. It is read part by part, and the work is done in slices, between which the page answers.
export const PART = 1 << 20; // bytes; many times the longest line that the service takes
const LINE_FEED = 10;
const SLICE_MS = 12;

const bytesAt = async (file, at) => new Uint8Array(await file.slice(at, at + PART).arrayBuffer());

async function endOfLine(file, from) {
  for (let at = from; at < file.size; at += PART) {
    const found = (await bytesAt(file, at)).indexOf(LINE_FEED);
    if (found !== -1) return at + found + 1;
  }
  return file.size;
}

// Yields {text, number, begin, end} of each line: `begin` and `end` are bytes of the file, and the line's end is not in its
// text. A line that is longer than a part has the text null. `work` are the slices in which they are read.
export async function* linesOf(file, work) {
  const decoder = new TextDecoder(); // which leaves out a byte order mark
  let [begin, number] = [0, 1];
  while (begin < file.size) {
    const bytes = await bytesAt(file, begin);
    let from = 0;
    for (let at = bytes.indexOf(LINE_FEED); at !== -1; at = bytes.indexOf(LINE_FEED, from)) {
      yield { text: decoder.decode(bytes.subarray(from, at)), number, begin: begin + from, end: begin + at + 1 };
      from = at + 1;
      number += 1;
      if (work.isOver()) await work.next();
    }
    begin += from;
    if (from) continue;
    const end = await endOfLine(file, begin); // of a line that is longer than a part, or of the last one
    yield { text: end - begin > PART ? null : decoder.decode(bytes), number, begin, end };
    begin = end;
    number += 1;
  }
}

// Work in slices: `isOver()` says that this one has lasted long enough, and `next()` begins another after the page's turn,
// before which it calls `onTurn`.
export function slices(onTurn) {
  let began = performance.now();
  return {
    isOver: () => performance.now() - began > SLICE_MS,
    async next() {
      onTurn();
      const { port1, port2 } = new MessageChannel(); // a timer would wait for a second in a tab that is not shown
      await new Promise((go) => { port1.onmessage = go; port2.postMessage(null); });
      port1.close();
      began = performance.now();
    },
  };
}
