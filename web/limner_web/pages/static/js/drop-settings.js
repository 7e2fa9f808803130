// Loads the settings of a picture that is dropped on the page, and of a text of A1111 that is pasted into the prompt.
import { hasPictures } from "./drag.js";
import { fillFound, form } from "./form.js";
import { t } from "./i18n.js";
import { isParameters, readParameters, settingsIn } from "./png-settings.js";
import { suggestPrompt } from "./suggest-prompt.js";
import { toast } from "./toast.js";

const hasFiles = (event) => Boolean(event.dataTransfer?.types.includes("Files")) && !hasPictures(event);

function load(found) {
  fillFound(found);
  toast(found.prompt ? t("Settings loaded") : t("Settings loaded. The file does not state its prompt: write it here."));
}

// A picture that the form has taken to start from stays that; its settings are offered. For one that does not say how it
// was made, a prompt is.
async function take(file, isTaken) {
  const found = file && await settingsIn(file).catch(() => null);
  if (!found) toast(isTaken ? t("What does it show?") : t("This file does not say how it was made."), { action: t("Suggest a prompt"), onAction: () => suggestPrompt(file), seconds: 10 });
  else if (isTaken) toast(t("This picture says how it was made."), { action: t("Load its settings"), onAction: () => load(found), seconds: 10 });
  else load(found);
}

export function setUpDropSettings() {
  document.addEventListener("dragover", (event) => { if (hasFiles(event)) event.preventDefault(); });
  document.addEventListener("drop", (event) => {
    if (!hasFiles(event)) return;
    const isTaken = event.defaultPrevented;
    event.preventDefault(); // the browser would leave the page and show the file
    take(event.dataTransfer.files[0], isTaken);
  });
  form.elements.prompt.addEventListener("paste", (event) => {
    const text = event.clipboardData?.getData("text/plain") ?? "";
    if (!isParameters(text)) return;
    event.preventDefault();
    load(readParameters(text));
  });
}
