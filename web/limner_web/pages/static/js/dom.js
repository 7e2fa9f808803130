// Finds and makes elements.
export const $ = (selector, root = document) => root.querySelector(selector);
export const $$ = (selector, root = document) => [...root.querySelectorAll(selector)];

// Makes an element. Children are nodes or text; `on…` properties are listeners, and `data` sets the data attributes.
export function el(tag, properties = {}, ...children) {
  const { data = {}, aria = {}, ...rest } = properties;
  const element = Object.assign(document.createElement(tag), rest);
  Object.assign(element.dataset, data);
  for (const [name, value] of Object.entries(aria)) element.setAttribute(name === "role" ? name : `aria-${name}`, value);
  element.append(...children.flat().filter((child) => child != null && child !== false));
  return element;
}

const { href: icons } = new URL("../icons.svg", import.meta.url);

export function icon(name) {
  const namespace = "http://www.w3.org/2000/svg";
  const svg = document.createElementNS(namespace, "svg");
  const use = document.createElementNS(namespace, "use");
  use.setAttribute("href", `${icons}#${name}`);
  svg.setAttribute("class", "icon");
  svg.setAttribute("aria-hidden", "true");
  svg.append(use);
  return svg;
}

export const button = (text, onclick, kind = "", name = null) =>
  el("button", { type: "button", className: `btn ${kind}`, onclick }, name && icon(name), text);

export const copyOf = (id) => document.getElementById(id).content.firstElementChild.cloneNode(true);

// How a page scrolls by itself: at once for readers who want no motion.
export const scrolling = () => (matchMedia("(prefers-reduced-motion: reduce)").matches ? "instant" : "smooth");

// Runs `work` at most once per frame.
export function perFrame(work) {
  let isDue = false;
  return () => {
    if (isDue) return;
    isDue = true;
    requestAnimationFrame(() => { isDue = false; work(); });
  };
}
