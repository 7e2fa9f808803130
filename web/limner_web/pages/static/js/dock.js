// Fixes a form to the lower edge of the window, where the style sheet says so, and keeps as much room for it at the end of
// the page. Without scripts the form is sticky: its height is not known then.
const { style, dataset } = document.documentElement;

export function dock(form) {
  new ResizeObserver(() => {
    style.setProperty("--dock", `${Math.ceil(form.offsetHeight)}px`);
    dataset.docked = "";
  }).observe(form);
}
