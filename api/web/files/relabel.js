// The form with which a person gives a feature another label: a new version, which operators may add.
import { post } from "./api.js";
import { h, say, show } from "./dom.js";
import { errorNotice, wait } from "./elements.js";

const AUTHOR = "featurehub.author";
const CHARS = 200;

/** The form; `onSaved` is given the feature's card as it is then. */
export function relabelForm(feature, onSaved) {
  const outcome = h("div", {});
  const field = (name, text, value, length) =>
    h("div", { class: "field" }, h("label", { for: name }, text),
      h("input", { id: name, name, value, maxlength: length, required: true, autocomplete: "off" }));
  const form = h(
    "form", { class: "relabel" },
    field("label", "New label", feature.label, CHARS),
    field("author", "Your name, for the history", localStorage.getItem(AUTHOR) ?? "", 100),
    h("p", { class: "muted" }, "Short and plain, such as “banking: loan, deposit”: the words before the colon become its name. " +
      "The old label still finds it. The new one has no score until it is measured."),
    h("p", { class: "buttons" }, h("button", { class: "primary" }, "Save the label")),
    outcome,
  );
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const { label, author } = Object.fromEntries(new FormData(form));
    localStorage.setItem(AUTHOR, author);
    show(outcome, wait("Saving the label…"));
    try {
      const path = `v1/features/${encodeURIComponent(feature.id)}/labels`;
      const saved = await post(path, { label, author }, { operator: true });
      say(`Saved as version ${saved.label_version}`);
      onSaved(saved);
    } catch (error) {
      show(outcome, errorNotice(error));
    }
  });
  return h("details", {}, h("summary", {}, feature.label ? "Give it a better label" : "Give it a label"), form);
}
