// Which items are selected, by id; a range is selected from the last one that was toggled.
export function makeSelection(onChange) {
  const chosen = new Set();
  let last = null;

  function set(item, on) {
    if (chosen.has(item.id) === on) return;
    if (on) chosen.add(item.id); else chosen.delete(item.id);
    onChange(item, on);
  }

  return {
    has: (id) => chosen.has(id),
    get size() { return chosen.size; },
    // With `range`, the list of all items in order, everything between the last item and this one is set as well.
    toggle(item, on, range = null) {
      const [from, to] = range ? [last, item.id].map((id) => range.findIndex((each) => each.id === id)).sort((a, b) => a - b) : [-1, -1];
      if (from >= 0) for (const each of range.slice(from, to + 1)) set(each, on);
      set(item, on);
      last = item.id;
    },
    all(items) { for (const item of items) set(item, true); },
    clear() { for (const id of [...chosen]) set({ id }, false); last = null; },
  };
}
