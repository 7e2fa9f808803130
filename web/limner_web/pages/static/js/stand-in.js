// A row of radio buttons in place of a list of the form, for models whose choices can be shown; otherwise the list stays.
import { form, modelChosen } from "./form.js";

// `looksOf(model)` makes the labels, each with a radio button of the value that it chooses; none where there is nothing
// to show.
export function standIn(row, name, looksOf) {
  const list = form.elements[name];
  let shownFor = null; // the name of the model
  const show = () => {
    const model = modelChosen();
    if (model.name !== shownFor) {
      shownFor = model.name;
      const looks = looksOf(model);
      row.querySelector("div").replaceChildren(...looks);
      row.hidden = !looks.length;
    }
    if (!row.hidden) list.closest("label").hidden = true;
    for (const input of row.querySelectorAll("input")) input.checked = input.value === list.value;
  };
  row.dataset.standsFor = name;
  row.addEventListener("change", ({ target }) => {
    list.value = target.value;
    list.dispatchEvent(new Event("input", { bubbles: true }));
  });
  form.addEventListener("settings", show);
  show();
}
