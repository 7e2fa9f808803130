// Favourites, tags and deletion of pictures.
import { call, send } from "./api.js";
import { el } from "./dom.js";
import { toast } from "./toast.js";

const UNDO_SECONDS = 6;
const leaving = new Set(); // deletions that can still be undone

// Whether the service has favourites, tags and deletion.
export const canOrganise = (image) => image?.favourite !== undefined;

export async function setFavourite(image, on) {
  await send(on ? "PUT" : "DELETE", `images/${image.id}/favourite`);
  image.favourite = on;
}

export async function addTag(image, tag) {
  await send("PUT", `images/${image.id}/tags/${encodeURIComponent(tag)}`);
  image.tags = [...new Set([...image.tags, tag])].sort();
}

export async function removeTag(image, tag) {
  await send("DELETE", `images/${image.id}/tags/${encodeURIComponent(tag)}`);
  image.tags = image.tags.filter((each) => each !== tag);
}

// Asks for one line of text; resolves to it, or to null.
export function ask(title, label, action) {
  const { promise, resolve } = Promise.withResolvers();
  const input = el("input", { name: "text", required: true, maxLength: 50, autocomplete: "off" });
  const form = el("form", { method: "dialog", className: "ask-form" }, el("h2", {}, title), el("label", { className: "field" }, el("span", {}, label), input), el("div", { className: "buttons" }, el("button", { className: "btn primary", value: "yes" }, action), el("button", { className: "btn", value: "", formNoValidate: true }, "Cancel")));
  const dialog = el("dialog", { className: "card" }, form);
  dialog.addEventListener("close", () => { resolve(dialog.returnValue === "yes" ? input.value.trim() || null : null); dialog.remove(); });
  document.body.append(dialog);
  dialog.showModal();
  return promise;
}

// Deletes pictures after a few seconds in which the user can take it back. `hide` and `show` change the page.
export function deleteLater(images, { hide, show }) {
  hide();
  const run = (options) => Promise.all(images.map((image) => call(`images/${image.id}`, { method: "DELETE", ...options })));
  const task = { flush: () => run({ keepalive: true }) };
  const timer = setTimeout(async () => {
    leaving.delete(task);
    try {
      await run();
    } catch (error) {
      show();
      toast(error.message, { bad: true });
    }
  }, UNDO_SECONDS * 1000);
  leaving.add(task);
  toast(images.length === 1 ? "Picture deleted" : `${images.length} pictures deleted`, { action: "Undo", seconds: UNDO_SECONDS, onAction: () => { clearTimeout(timer); leaving.delete(task); show(); } });
}

addEventListener("pagehide", () => { for (const task of leaving) task.flush().catch(() => {}); });
