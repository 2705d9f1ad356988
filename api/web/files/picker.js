// Search as you type for one feature or group: an input with a list below it, which the arrow keys walk through.
import { get } from "./api.js";
import { h, say, show } from "./dom.js";
import { errorNotice, stateBadge } from "./elements.js";
import { labelOf, percent, signed } from "./format.js";
import { saeNames } from "./model.js";

const PAUSE = 60; // Milliseconds after a key before a search begins.
let pickers = 0;

/** The field. `onPick(found)` gets a feature's row, or a group's with `members`; `groups` says whether these are offered. */
export function picker({ label, onPick, groups = false, placeholder = "Words, or a sentence" }) {
  const id = `pick${++pickers}`;
  const list = h("ul", { id: `${id}-list`, role: "listbox", "aria-label": label, class: "options", hidden: true });
  const problem = h("div", {});
  const input = h("input", {
    id, type: "search", role: "combobox", placeholder, autocomplete: "off", spellcheck: "false", maxlength: 200,
    "aria-controls": list.id, "aria-expanded": "false", "aria-autocomplete": "list",
  });
  const state = { found: [], at: -1, running: new AbortController(), waiting: 0 };

  function close() {
    list.hidden = true;
    input.setAttribute("aria-expanded", "false");
    input.removeAttribute("aria-activedescendant");
    state.at = -1;
  }

  function take(found) {
    state.running.abort();
    clearTimeout(state.waiting);
    input.value = "";
    close();
    onPick(found);
  }

  async function search() {
    state.running.abort();
    const { signal } = (state.running = new AbortController());
    const q = input.value.trim();
    show(problem);
    if (!q) return close();
    try {
      const [page, names] = await Promise.all([get("v1/features", { q, limit: 8 }, { signal }), saeNames()]);
      state.found = [...(groups ? page.groups.slice(0, 2) : []), ...page.data];
      state.at = -1;
      const nothing = h("li", { class: "muted", role: "option", "aria-disabled": "true", "aria-selected": "false" }, "No feature found: try other words.");
      show(list, state.found.length ? state.found.map((each, at) => option(each, at, names)) : nothing);
      list.hidden = false;
      input.setAttribute("aria-expanded", "true");
      say(`${state.found.length} found`);
    } catch (error) {
      if (error.name !== "AbortError") show(problem, errorNotice(error, { retry: search }));
    }
  }

  const option = (found, at, names) =>
    h("li", {
      id: `${id}-${at}`, role: "option", "aria-selected": "false", on: {
        pointerdown: (event) => event.preventDefault(), // The input keeps the focus, so that the list is not closed first.
        click: () => take(found),
      },
    }, found.members ? groupText(found) : featureText(found, names.get(found.artifact)));

  function mark(at) {
    [...list.children].forEach((each, index) => each.setAttribute("aria-selected", String(index === at)));
    state.at = at;
    list.children[at].scrollIntoView({ block: "nearest" });
    input.setAttribute("aria-activedescendant", `${id}-${at}`);
  }

  input.addEventListener("input", () => {
    clearTimeout(state.waiting);
    state.waiting = setTimeout(search, PAUSE);
  });
  input.addEventListener("keydown", (event) => {
    const { length } = state.found;
    if (event.key === "Enter") {
      event.preventDefault();
      if (!list.hidden && length) take(state.found[Math.max(state.at, 0)]);
    } else if (event.key === "Escape" && !list.hidden) {
      event.stopPropagation();
      close();
    } else if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      event.preventDefault();
      if (!list.hidden && length) mark((state.at + (event.key === "ArrowDown" ? 1 : state.at < 0 ? 0 : -1) + length) % length);
    }
  });
  input.addEventListener("blur", close);
  return h("div", { class: "field picker" }, h("label", { for: id }, label), input, list, problem);
}

function featureText(feature, sae) {
  const tested = feature.steerability === null ? "not tested" : `writes ${signed(feature.steerability)}`;
  const reads = feature.label_score !== null && `reads ${percent(feature.label_score)}`;
  return [
    h("span", {}, labelOf(feature), " ", stateBadge(feature.state)),
    h("span", { class: "muted where" }, [tested, reads, sae].filter(Boolean).join(" · ")),
  ];
}

const groupText = (group) => [h("span", {}, group.name), h("span", { class: "muted where" }, `${group.members.length} features together`)];
