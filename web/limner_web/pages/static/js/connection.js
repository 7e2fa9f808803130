// The banner that says that the connection is lost, and that it is back; it clears itself.
import { icon } from "./dom.js";
import { t } from "./i18n.js";

const banner = document.getElementById("connection");
const listeners = new Set();
let isLost = false;
let timer = null;

export const onReconnect = (listener) => { listeners.add(listener); };

export function lost() {
  if (isLost || timer) return;
  // A short interruption, such as leaving the page, shows nothing.
  timer = setTimeout(() => {
    timer = null;
    isLost = true;
    show("lost", "offline", t("Connection lost. Trying to reconnect …"));
  }, 1200);
}

// A response that was under way when the connection broke does not mean that it is back.
export function back() {
  if (!navigator.onLine) return;
  clearTimeout(timer);
  timer = null;
  if (!isLost) return;
  isLost = false;
  show("back", "check", t("Connected again"));
  setTimeout(() => { if (!isLost) banner.hidden = true; }, 2500);
  for (const listener of listeners) listener();
}

function show(state, name, text) {
  banner.dataset.state = state;
  banner.replaceChildren(icon(name), text);
  banner.hidden = false;
}

addEventListener("offline", lost);
addEventListener("online", () => { fetch("/healthz").then(back, () => {}); });
