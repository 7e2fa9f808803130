// Loads the settings of a picture that is dropped on this page or on another one, and of a text of A1111 that is pasted
// into the prompt.
import { setMode } from "./describe.js";
import { arrived, takeFiles } from "./dropped-file.js";
import { fillFound, form } from "./form.js";
import { t } from "./i18n.js";
import { isParameters, readParameters, settingsIn } from "./png-settings.js";
import { suggestPrompt } from "./suggest-prompt.js";
import { toast } from "./toast.js";

function load(found) {
  setMode("prompt");
  fillFound(found);
  toast(found.prompt ? t("Settings loaded") : t("Settings loaded. The file does not state its prompt: write it here."));
}

// A picture that the form has taken to start from stays that; its settings are offered. For one that does not say how it
// was made, a prompt is.
async function take(file, isTaken) {
  const found = await settingsIn(file).catch(() => null);
  if (!found) toast(isTaken ? t("What does it show?") : t("This file does not say how it was made."), { action: t("Suggest a prompt"), onAction: () => suggestPrompt(file), seconds: 10 });
  else if (isTaken) toast(t("This picture says how it was made."), { action: t("Load its settings"), onAction: () => load(found), seconds: 10 });
  else load(found);
}

export function setUpDropSettings() {
  takeFiles(take);
  const brought = arrived();
  if (brought) load(brought);
  form.elements.prompt.addEventListener("paste", (event) => {
    const text = event.clipboardData?.getData("text/plain") ?? "";
    if (!isParameters(text)) return;
    event.preventDefault();
    load(readParameters(text));
  });
}
