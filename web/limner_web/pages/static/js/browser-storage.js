// What the browser keeps for a page, as JSON. Storage may be full or off: then nothing is kept.
export const readStored = (name, otherwise) => { try { return JSON.parse(localStorage.getItem(name)) ?? otherwise; } catch { return otherwise; } };

export const store = (name, value) => { try { localStorage.setItem(name, JSON.stringify(value)); } catch { /* full or off */ } };
