// Suggests a prompt for a picture, as far as a model's evaluator knows such pictures.
import { send } from "./api.js";
import { form } from "./form.js";
import { isEnglish, t } from "./i18n.js";
import { attempt, toast } from "./toast.js";

const { lang } = document.documentElement;
const SIDE = 256; // more than the evaluator looks at

// A small PNG of a picture's file: the service takes no other formats than it can decode, and needs no more pixels.
async function small(file) {
  const bitmap = await createImageBitmap(file);
  const side = Math.min(bitmap.width, bitmap.height);
  const canvas = Object.assign(document.createElement("canvas"), { width: SIDE, height: SIDE });
  const pen = canvas.getContext("2d");
  pen.fillStyle = "#fff";
  pen.fillRect(0, 0, SIDE, SIDE);
  pen.drawImage(bitmap, (bitmap.width - side) / 2, (bitmap.height - side) / 2, side, side, 0, 0, SIDE, SIDE);
  bitmap.close();
  return canvas.toDataURL("image/png");
}

// `picture` is a file, or the id of a picture that was drawn.
export const suggestPrompt = (picture) => attempt(async () => {
  const image = typeof picture === "string" ? picture : await small(picture).catch(() => null);
  if (!image) { toast(t("This file is no picture.")); return; }
  const { prompt } = await send("POST", "describe", { image, ...(!isEnglish && { language: lang }) });
  if (!prompt) { toast(t("The evaluator does not recognise this picture. It knows drawings of single things, not photos."), { seconds: 8 }); return; }
  const { elements: { prompt: field } } = form;
  const before = field.value;
  const write = (text) => { field.value = text; field.dispatchEvent(new Event("input", { bubbles: true })); };
  write(prompt);
  toast(t("It looks like “%(thing)s”", { thing: prompt }), { action: t("Undo"), onAction: () => write(before), seconds: 8 });
});
