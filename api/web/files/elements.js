// What pages show: state badges, bars, feature rows, notices, waits, tables, copy buttons.
import { h, link, say } from "./dom.js";
import { density, labelOf, layer, nameOf, percent, signed } from "./format.js";

const STATES = {
  fresh: ["✓", "It holds on the model that is served."],
  suspect: ["?", "Drift was seen, or the evidence is too thin to say."],
  stale: ["!", "It no longer holds on the model that is served."],
  unchecked: ["–", "No drift check has judged it on this model."],
};

/** "fresh", "suspect", "stale" or "unchecked", with a sign besides the colour. */
export function stateBadge(state) {
  const [sign, title] = STATES[state] ?? ["–", ""];
  return h("span", { class: `badge ${state}`, title }, h("span", { "aria-hidden": "true" }, sign), ` ${state}`);
}

/** A share in [0, 1] as a bar, with its name before and its text after. `kind`: reads, writes, plain; `guess` hatches. */
export function bar(name, value, text, { kind = "plain", guess = false, title = null } = {}) {
  const length = value === null ? 0 : Math.max(0, Math.min(1, value));
  return h(
    "span",
    { class: `measure ${kind}${guess ? " guess" : ""}`, title },
    h("span", { class: "name" }, name),
    h("span", { class: "bar", vars: { share: length }, "aria-hidden": "true" }),
    h("span", { class: "value" }, text),
  );
}

/** How well the label says when the feature fires. */
export const readsBar = ({ label_score: score }) =>
  bar("Reads", score, score === null ? "not scored" : percent(score), {
    kind: "reads",
    title: "Label score: how well the label predicts, on texts held out, where the feature fires",
  });

/** What steering with it does. */
export function writesBar({ steerability: tested, expected_steerability: expected, strength }) {
  const title = "Steerability: how many more answers show the label when steered than when not";
  if (tested !== null) {
    return bar("Writes", tested, strength === null ? "cannot write" : signed(tested), { kind: "writes", title });
  }
  if (expected === null) return bar("Writes", null, "not tested", { kind: "writes", title });
  return bar("Writes", expected, `≈ ${percent(expected)}`, {
    kind: "writes", guess: true, title: "Expected from its output score; nobody has tried it",
  });
}

/** On a scale of powers of ten, from 1 in 100,000 tokens to all. */
export const densityBar = ({ density: value }) =>
  bar("Fires", value > 0 ? 1 + Math.log10(value) / 5 : 0, density(value), {
    title: "Share of tokens on which the feature fires; the bar grows by powers of ten",
  });

/** The head of a feature: label (a link to its page), state, and where it lies. `sae`: its row of v1/saes, if known. */
export function featureHead(feature, sae = null) {
  const where = [sae?.name ?? `SAE ${feature.artifact.slice(0, 8)}`, sae && layer(sae.hook), `latent ${feature.latent}`];
  return h(
    "div",
    { class: "head" },
    featureLink(feature, { class: "label" }),
    " ",
    stateBadge(feature.state),
    h("span", { class: "muted where" }, where.filter(Boolean).join(" · ")),
  );
}

/** A feature's label, which leads to its page. */
export const featureLink = (feature, given = {}) =>
  link("feature", { name: nameOf(feature) }, labelOf(feature), given);

/** A list item: head and bars, then what the page adds. Focus moves among rows with the arrow keys (`arrows`). */
export function featureRow(feature, { sae = null, extra = [] } = {}) {
  const measures = h("div", { class: "measures" }, readsBar(feature), writesBar(feature), densityBar(feature));
  return h("li", { class: "feature", data: { id: feature.id } }, featureHead(feature, sae), measures, extra);
}

/** Lets the arrow keys, Home and End move the focus among the elements of `list` that `selector` finds. */
export function arrows(list, selector, { before = null } = {}) {
  list.addEventListener("keydown", (event) => {
    const all = [...list.querySelectorAll(selector)];
    const at = all.indexOf(event.target);
    const steps = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: all.length - 1 };
    if (at < 0 || !(event.key in steps)) return;
    event.preventDefault();
    const to = steps[event.key];
    (to < 0 ? before : all[Math.min(to, all.length - 1)])?.focus();
  });
}

/** Lets the left and right arrow keys move the focus among some `items` of `line`, of which one is in the order of tabs;
 * with `ends`, Home and End too. */
export function roving(line, items, { ends = false } = {}) {
  line.addEventListener("keydown", (event) => {
    const at = items.indexOf(event.target);
    const steps = { ArrowRight: at + 1, ArrowLeft: at - 1, ...(ends && { Home: 0, End: items.length - 1 }) };
    const next = items[steps[event.key]];
    if (at < 0 || next === undefined) return;
    event.preventDefault();
    items[at].tabIndex = -1;
    next.tabIndex = 0;
    next.focus();
  });
}

/** A message: `kind` is info, good, warning or error. */
export const notice = (kind, ...children) =>
  h("div", { class: `notice ${kind}`, role: kind === "error" ? "alert" : null }, ...children);

/** What went wrong and what to do. `retry` is called by a button; `onName` by a click on a name that was suggested. */
export function errorNotice(error, { retry = null, onName = null } = {}) {
  const names = [...(error.suggestions ?? []), ...(error.candidates ?? []), error.closest].filter(Boolean);
  const again = retry && h("button", { type: "button", on: { click: retry } }, "Try again");
  return notice(
    "error",
    h("p", {}, h("strong", {}, error.message)),
    error.advice && h("p", {}, error.advice),
    names.length > 0 && h("p", { class: "chips" }, "Close to it: ", names.map((name) => nameChip(name, onName))),
    again && h("p", {}, again),
  );
}

function nameChip(name, onName) {
  if (onName) return h("button", { class: "chip", type: "button", on: { click: () => onName(name) } }, name);
  return link("feature", { name }, name, { class: "chip" });
}

/** Says what is being waited for. `share` in [0, 1] where it is known. */
export function wait(text, share = null) {
  return h("div", { class: "wait", role: "status" }, h("progress", { value: share, "aria-label": text }), h("span", {}, text));
}

/** Names with their values: [name, value] each. */
export const factList = (facts) =>
  h("dl", { class: "facts" }, facts.map(([name, value]) => [h("dt", {}, name), h("dd", {}, value)]));

/** A table from a list of headings and one of rows; cells are texts or elements, numbers stand to the right. */
export function table(headings, rows, { caption = null } = {}) {
  const cell = (value) => h("td", { class: typeof value === "number" ? "number" : null }, value);
  return h(
    "div",
    { class: "scrolls", tabindex: "0", role: "region", "aria-label": caption ?? headings.join(", ") },
    h(
      "table",
      {},
      caption && h("caption", {}, caption),
      h("thead", {}, h("tr", {}, headings.map((each) => h("th", { scope: "col" }, each)))),
      h("tbody", {}, rows.map((row) => h("tr", {}, row.map(cell)))),
    ),
  );
}

/** A button that copies a text, or what a function returns at the click. */
export function copyButton(text, name = "Copy") {
  const button = h("button", { type: "button", class: "quiet" }, name);
  button.addEventListener("click", async () => {
    const copied = await copy(typeof text === "function" ? text() : text);
    button.textContent = copied ? "Copied" : "Select and copy by hand";
    say(button.textContent);
    setTimeout(() => (button.textContent = name), 2000);
  });
  return button;
}

// Browsers give a clipboard to https and localhost alone.
async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    const area = h("textarea", { class: "unseen" });
    area.value = text;
    document.body.append(area);
    area.select();
    const copied = document.execCommand("copy");
    area.remove();
    return copied;
  }
}

/** Lines of code with a button that copies them. */
export const code = (text, name = "code") =>
  h("div", { class: "code" }, copyButton(text, `Copy ${name}`), h("pre", { tabindex: "0" }, h("code", {}, text)));
