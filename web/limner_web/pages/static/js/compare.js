// Compares two pictures: side by side, or one over the other with a divider.
import { pictureUrl } from "./api.js";
import { $, $$ } from "./dom.js";
import { facts } from "./words.js";

export function makeCompare(dialog) {
  const two = $(".two", dialog);
  const [first, second] = $$(".two figure", dialog);
  const divider = $(".two input", dialog);
  let pair = [null, null];
  let isOn = false;

  function paint() {
    for (const [at, figure] of [first, second].entries()) {
      if (!pair[at]) continue;
      const { job, image } = pair[at];
      Object.assign($("img", figure), { src: pictureUrl(image), alt: image.alt_text || job.prompt });
      $("figcaption", figure).textContent = `${job.prompt} · ${facts(job, image)}`;
    }
  }

  function set(on) {
    isOn = on;
    two.hidden = !on;
    $(".one", dialog).hidden = on;
    $(".modes", dialog).hidden = !on;
    $("footer .prompt", dialog).hidden = on;
    $("[data-do=compare]", dialog).setAttribute("aria-pressed", on);
  }

  function setMode(mode) {
    two.dataset.mode = mode;
    divider.hidden = mode !== "slider";
    for (const name of ["side", "slider"]) $(`[data-do=${name}]`, dialog).setAttribute("aria-pressed", name === mode);
  }

  divider.addEventListener("input", () => two.style.setProperty("--at", divider.value / 100));
  setMode("side");
  return {
    get isOn() { return isOn; },
    isSecond: (id) => isOn && pair[1]?.image.id === id,
    setFirst(picture) { pair[0] = picture; if (isOn) paint(); },
    setSecond(picture) { pair[1] = picture; paint(); },
    toggle(a, b) { pair = [a, b]; set(!isOn); paint(); },
    off() { set(false); },
    setMode,
  };
}
