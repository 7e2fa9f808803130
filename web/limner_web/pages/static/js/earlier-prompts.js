// The prompts that were drawn in this browser: chosen from a menu, or with the arrow keys in an empty prompt.
import { readStored, store } from "./browser-storage.js";
import { $ } from "./dom.js";
import { t } from "./i18n.js";
import { openMenu } from "./menu.js";

const NAME = "limner-prompts";
const MOST = 50;
const MOST_OFFERED = 12;

const MOST_SHOWN = 70; // characters of one

const prompts = () => readStored(NAME, []);

export function rememberPrompt(prompt) {
  store(NAME, [prompt, ...prompts().filter((each) => each !== prompt)].slice(0, MOST));
  showButton();
}

const showButton = () => { $("#earlier").hidden = !prompts().length; };

// `choose(prompt)` writes it into the field. What the field has then is not lost: it becomes the newest of these prompts.
function offer(field, choose) {
  const known = prompts();
  const take = (prompt) => {
    if (field.value.trim() && !known.includes(field.value)) rememberPrompt(field.value);
    choose(prompt);
    field.focus();
  };
  openMenu($("#earlier"), [
    ...known.slice(0, MOST_OFFERED).map((prompt) => ({ icon: "text", text: prompt.length > MOST_SHOWN ? `${prompt.slice(0, MOST_SHOWN - 1)}…` : prompt, onClick: () => take(prompt) })),
    { group: "end", icon: "trash", text: t("Forget these prompts"), onClick: () => { store(NAME, []); showButton(); field.focus(); } },
  ]);
}

// The arrow keys step through them while the field is empty or has one of them.
function step(event, field, choose) {
  const known = prompts();
  const at = known.indexOf(field.value);
  const isPlain = field.value === "" || at >= 0;
  if (!isPlain || field.selectionStart !== field.selectionEnd) return;
  const next = event.key === "ArrowUp" ? at + 1 : at - 1;
  if (next >= known.length || next < -1 || (at < 0 && event.key === "ArrowDown")) return;
  event.preventDefault();
  choose(next < 0 ? "" : known[next]);
}

export function setUpEarlierPrompts(field, choose) {
  field.addEventListener("keydown", (event) => { if (["ArrowUp", "ArrowDown"].includes(event.key)) step(event, field, choose); });
  $("#earlier").onclick = () => offer(field, choose);
  showButton();
}
