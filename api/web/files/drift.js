// One drift report: how many features hold, by what numbers, and which do not.
import { get } from "./api.js";
import { h, link, say, show } from "./dom.js";
import { errorNotice, notice, stateBadge, table, wait } from "./elements.js";
import { count, number, percent, time } from "./format.js";
import { parts, scatter } from "./plot.js";

const STATES = ["stale", "suspect", "fresh", "unchecked"];
const PAGE = 25;
const DRAWN = 3000;
const METRICS = {
  explained_variance: ["Explained variance", percent],
  l0: ["Features active on a token", number],
};
const EVIDENCE = {
  correlation: ["Firing, correlation", "how alike the old and the new model make it fire on the same texts; 1 is exactly alike"],
  f1_fall_text: ["Label fit lost, old texts", "by how much its label tells less well where it fires, on texts of the old model"],
  f1_fall_world: ["Label fit lost, new answers", "the same on what the new model says itself"],
};

/** Fills `box` with a report of v1/saes/NAME/drift. `before`: the report before it, if any. */
export async function reportView(box, card, report, { decides, before, signal }) {
  show(box, wait("Reading the verdicts…"));
  try {
    const [whole, older] = await Promise.all([
      get(`v1/drift/${encodeURIComponent(report.id)}`, {}, { signal }),
      before && get(`v1/drift/${encodeURIComponent(before.id)}`, {}, { signal }),
    ]);
    if (signal.aborted) return;
    const was = older && new Map(older.features.map((each) => [each.latent, each.state]));
    show(box, head(whole, report, decides), comparison(whole.metrics), whole.features.length ? [
      counts(report.verdicts), points(whole.features), changes(card, whole.features, was, before),
    ] : notice("info", h("p", {}, "This report judges the SAE as a whole: its state is that of every feature.")));
  } catch (error) {
    if (error.name !== "AbortError") show(box, errorNotice(error, { retry: () => reportView(box, card, report, { decides, before, signal }) }));
  }
}

const head = (whole, report, decides) => [
  h("p", {}, stateBadge(whole.state), ` ${whole.reason}.`),
  h("p", { class: "muted" }, `Checked on ${whole.model}, ${time(whole.created)}, report ${report.id}. `,
    decides ? "The loaded model is that one, so this report decides what is refused here." : "The loaded model is another one, so this report decides nothing here."),
];

function comparison(metrics) {
  const names = Object.keys(METRICS).filter((each) => metrics[`${each}_old`] !== undefined && metrics[`${each}_new`] !== undefined);
  if (names.length === 0) return null;
  const rows = names.map((each) => [METRICS[each][0], METRICS[each][1](metrics[`${each}_old`]), METRICS[each][1](metrics[`${each}_new`])]);
  const tokens = metrics.canary_tokens ? `, on ${count(metrics.canary_tokens)} tokens of canaries (texts kept for checks)` : "";
  return table(["The SAE as a whole", "On its own model", "On the checked one"], rows, { caption: `Before and after${tokens}` });
}

const counts = (verdicts) =>
  parts({
    title: "Verdicts on the labelled features", unit: "features",
    rows: STATES.map((state) => ({ kind: state, name: state, value: verdicts[state] ?? 0 })).filter(({ value }) => value > 0),
  });

const evidenceOf = (verdict, name) => verdict.evidence.find((each) => each.statistic === name) ?? null;

// A feature that holds lies at the lower right: it fires as before, and its label fits as before.
function points(verdicts) {
  const placed = verdicts
    .filter((each) => evidenceOf(each, "correlation") && evidenceOf(each, "f1_fall_text"))
    .sort((a, b) => STATES.indexOf(a.state) - STATES.indexOf(b.state)).slice(0, DRAWN);
  if (placed.length === 0) return null;
  const groups = STATES.map((state) => ({
    name: state, kind: state,
    points: placed.filter((each) => each.state === state)
      .map((each) => [evidenceOf(each, "correlation").value, evidenceOf(each, "f1_fall_text").value, each.label]),
  })).filter((each) => each.points.length);
  const left = verdicts.length - placed.length;
  const limit = (name) => evidenceOf(placed[0], name).threshold;
  return scatter({
    title: "How each feature fires now, against before", groups,
    about: "Across: how alike the old and the new model make it fire on the same texts. Up: how much worse its label fits where it fires. "
      + "A feature that holds is at the lower right; the dashed lines are where doubt begins."
      + (left ? ` ${count(left)} features are not drawn: they fired too rarely to be compared${placed.length === DRAWN ? ", or are too many" : ""}.` : ""),
    x: "correlation of old and new activations", y: "label fit lost (F1)", vertical: limit("correlation"), horizontal: limit("f1_fall_text"),
  });
}

// The verdicts one by one: those that no longer hold first.
function changes(card, verdicts, was, before) {
  const present = STATES.filter((state) => verdicts.some((each) => each.state === state));
  let state = present[0], text = "", limit = PAGE;
  const body = h("div", {});
  const input = h("input", { type: "search", id: "verdict-text", maxlength: 200, autocomplete: "off", placeholder: "Words of a name or a reason" });
  const choices = [...present, ""].map((each) =>
    h("button", { type: "button", class: "chip", data: { state: each }, on: { click: () => draw({ state: each }) } },
      each === "" ? `All ${count(verdicts.length)}` : [stateBadge(each), ` ${count(verdicts.filter((one) => one.state === each).length)}`]));
  const draw = (changed = {}) => {
    ({ state = state, limit = PAGE } = changed);
    text = input.value.trim().toLowerCase();
    const fit = verdicts.filter((each) => (state === "" || each.state === state) && `${each.label} ${each.reason}`.toLowerCase().includes(text));
    for (const each of choices) each.setAttribute("aria-pressed", String(each.dataset.state === state));
    const more = fit.length > limit && h("p", { class: "buttons" },
      h("button", { type: "button", on: { click: () => draw({ limit: limit + 4 * PAGE }) } }, `Show more of ${count(fit.length)}`));
    show(body, fit.length ? verdictTable(card, fit.slice(0, limit), was, before) : h("p", {}, "No verdict fits. Fewer words, or another state, may find one."), more);
    say(`${fit.length} features`);
  };
  input.addEventListener("input", () => draw());
  draw();
  return h("section", { "aria-labelledby": "verdicts-title" },
    h("h3", { id: "verdicts-title" }, "Feature by feature"),
    h("p", { class: "chips", role: "group", "aria-label": "State" }, choices),
    h("div", { class: "field narrow" }, h("label", { for: "verdict-text" }, "Filter"), input),
    body);
}

function verdictTable(card, verdicts, was, before) {
  const shown = Object.keys(EVIDENCE).filter((name) => verdicts.some((each) => evidenceOf(each, name)));
  const headings = ["Feature", was && "Before", "Reads", "Steers", "Because", ...shown.map((each) => h("abbr", { title: EVIDENCE[each][1] }, EVIDENCE[each][0]))];
  const rows = verdicts.map((each) => [
    link("feature", { name: `sae:${card.id}/${each.latent}` }, each.label || `latent ${each.latent}`),
    was && (was.has(each.latent) ? stateBadge(was.get(each.latent)) : "not judged"),
    stateBadge(each.reads), stateBadge(each.steers), h("span", { class: "because" }, each.reason),
    ...shown.map((name) => evidenceCell(evidenceOf(each, name))),
  ]);
  const kept = (row) => (was ? row : row.filter((_, at) => at !== 1));
  const about = `“Reads”: it fires where its name says. “Steers”: steering with it does what its name says.${
    was ? ` “Before”: the report on ${before.model}, ${time(before.created)}.` : ""}`;
  return [h("p", { class: "muted" }, about), h("div", { class: "verdicts" }, table(kept(headings), rows.map(kept)))];
}

function evidenceCell(found) {
  if (found === null) return "";
  return h("span", { title: `doubt begins at ${number(found.threshold)}; ${count(found.n)} observations` }, number(found.value));
}
