// The size as a row of small boxes, each of its shape, where a model has a few sizes; otherwise it stays a list.
import { $, el } from "./dom.js";
import { form } from "./form.js";
import { standIn } from "./stand-in.js";

const MOST = 10;
const LONGEST = 18; // pixels of the largest box
const SHORTEST = 8;
const NEAR = 0.03; // a shape this near to a known one is called by its name
const KNOWN = [[1, 1], [5, 4], [4, 3], [3, 2], [16, 9], [2, 1], [21, 9]];

const numbersOf = (size) => size.split("x").map(Number);
const words = (size) => size.replace("x", " × ");

// The shape in words, such as 3:2; null where none is known.
function shapeOf([width, height]) {
  const ratio = Math.max(width, height) / Math.min(width, height);
  const near = KNOWN.filter(([a, b]) => Math.abs(a / b / ratio - 1) < NEAR).sort(([a, b], [c, d]) => Math.abs(a / b - ratio) - Math.abs(c / d - ratio))[0];
  return near ? (width < height ? [...near].reverse() : near).join(":") : null;
}

// A size is called by its shape where no other has that; a square, then, by its side.
function nameOf(size, all) {
  const [width, height] = numbersOf(size);
  const shape = shapeOf([width, height]);
  if (shape && all.filter((each) => shapeOf(numbersOf(each)) === shape).length === 1) return shape;
  return width === height ? String(width) : words(size);
}

function look(size, all) {
  const longest = Math.max(...all.flatMap(numbersOf));
  const [width, height] = numbersOf(size).map((side) => `${Math.max(SHORTEST, (LONGEST * side) / longest)}px`);
  const name = nameOf(size, all);
  const box = el("i");
  Object.assign(box.style, { width, height });
  const label = name.includes(":") ? `${words(size)}, ${name}` : words(size);
  return el("label", { title: label }, el("input", { type: "radio", name: "shape", value: size, className: "sr", ariaLabel: label }), box, el("span", {}, name));
}

const looksOf = ({ sizes }) => (sizes.length > 1 && sizes.length <= MOST ? sizes.map((size) => look(size, sizes)) : []);

export function setUpShapes() {
  const row = $(".shapes", form);
  standIn(row, "size", looksOf);
  const show = () => {
    row.classList.toggle("wide", row.querySelectorAll("label").length > 2);
    $("output", row).value = words(form.elements.size.value);
  };
  form.addEventListener("settings", show);
  show();
}
