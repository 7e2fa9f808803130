// Redraws in place: what is there already stays, so that a press of a button, the focus and an open fold outlast it.
const OWN = ["open", "aria-expanded"]; // attributes that belong to the reader

const keyOf = (node) => node.id || node.dataset?.name || "";

// A button is the same one while it says the same and, by its data, concerns the same.
const saysOf = (node) => (node.localName === "button" ? [node.textContent, node.ariaLabel, ...Object.values(node.dataset)].join("\n") : "");

const isAlike = (a, b) => a.nodeName === b.nodeName && keyOf(a) === keyOf(b) && saysOf(a) === saysOf(b);

// The content security policy refuses a style that is set as an attribute.
function set(element, name, value) {
  if (name === "style") element.style.cssText = value;
  else element.setAttribute(name, value);
}

// Gives an element the attributes and the children of another one.
export function morphInto(element, wanted) {
  for (const { name } of [...element.attributes]) if (!wanted.hasAttribute(name) && !OWN.includes(name)) element.removeAttribute(name);
  for (const { name, value } of wanted.attributes) if (element.getAttribute(name) !== value && !OWN.includes(name)) set(element, name, value);
  morph(element, [...wanted.childNodes]);
}

// Makes these the children of `parent`. They are known by their id or `data-name`, others by their place.
export function morph(parent, children) {
  const known = new Map([...parent.childNodes].map((node) => [keyOf(node), node]));
  children.forEach((child, index) => {
    const at = parent.childNodes[index];
    const before = keyOf(child) ? known.get(keyOf(child)) : at;
    const isKept = before && isAlike(before, child);
    if (isKept && child.nodeType === Node.ELEMENT_NODE) morphInto(before, child);
    else if (isKept && before.data !== child.data) before.data = child.data;
    const kept = isKept ? before : child;
    if (kept !== at) parent.insertBefore(kept, at ?? null);
  });
  while (parent.childNodes.length > children.length) parent.lastChild.remove();
}
