// What happens to a file that is dropped: the browser would leave the page and show it. A page may take it; elsewhere the
// settings that a picture states are taken to the studio.
import { $$ } from "./dom.js";
import { hasPictures } from "./drag.js";
import { t } from "./i18n.js";
import { settingsIn } from "./png-settings.js";
import { toast } from "./toast.js";

const ON_THEIR_WAY = "limner-found"; // in the tab's storage: settings for the studio

export const hasFiles = (event) => Boolean(event.dataTransfer?.types.includes("Files")) && !hasPictures(event);

// What leaving the page would lose.
const isInUse = () => document.querySelector("dialog[open]") || $$("textarea").some(({ value }) => value.trim());

function go(found) {
  try { sessionStorage.setItem(ON_THEIR_WAY, JSON.stringify(found)); } catch { /* storage may be full or off */ }
  location.assign("/");
}

export async function toStudio(file) {
  const found = await settingsIn(file).catch(() => null);
  if (!found) toast(t("This file does not say how it was made."));
  else if (isInUse()) toast(t("This picture says how it was made."), { action: t("Load its settings in the studio"), onAction: () => go(found) });
  else go(found);
}

// The settings that were taken to this page, once.
export function arrived() {
  try {
    const found = JSON.parse(sessionStorage.getItem(ON_THEIR_WAY));
    sessionStorage.removeItem(ON_THEIR_WAY);
    return found;
  } catch {
    return null;
  }
}

let take = (file, isTaken) => { if (!isTaken) toStudio(file); };

// From now on `own(file, isTaken)` takes each file; `isTaken` says that a field of the page has done so already.
export const takeFiles = (own) => { take = own; };

document.addEventListener("dragover", (event) => { if (hasFiles(event)) event.preventDefault(); });
document.addEventListener("drop", (event) => {
  if (!hasFiles(event)) return;
  const { defaultPrevented: isTaken, dataTransfer: { files: [file] } } = event;
  event.preventDefault();
  if (file) take(file, isTaken);
});
