// The registry and drift page: which SAEs there are, how they stand on the loaded model, and what drift checks found.
import { get } from "./api.js";
import { byId, h, link, queryText, say, show } from "./dom.js";
import { code, errorNotice, factList, notice, stateBadge, table, wait } from "./elements.js";
import { count, layer, number, percent, shellWord, time } from "./format.js";
import { bars } from "./plot.js";
import { reportView } from "./drift.js";

const MEASURES = {
  explained_variance: ["Explained variance", "How much of the model's inner state the SAE gives back; 100% is all of it.", true],
  ce_score: ["CE score", "How much of the model's skill (cross-entropy) is left when it runs on what the SAE gives back; 100% is all.", true],
  kl_score: ["KL score", "How much of the model's own next-token probabilities is left when it runs on what the SAE gives back.", true],
  l0: ["L0", "How many features are active on a token, on average."],
  dead: ["Dead share", "Share of the features that never fired on the held-out text.", true],
  cosine_similarity: ["Cosine similarity", "How alike in direction the state and what the SAE gives back are; 1 is the same."],
  relative_reconstruction_bias: ["Reconstruction bias", "Below 1, what the SAE gives back is too short; above 1, too long."],
  mse: ["Mean squared error", "Squared distance between the state and what the SAE gives back, on average."],
  tokens: ["Tokens", "How many held-out tokens these scores rest on."],
  median_norm: ["Median norm", "Typical length of the state's vectors."],
};
const DETAILS = ["density_", "probe_"];
const one = byId("one");
let saes = [], running = new AbortController();

async function load() {
  show(byId("waiting"), wait("Reading the registry…"));
  try {
    saes = (await get("v1/saes")).data;
    show(byId("list"), saes.length ? chooser() : nothing());
    if (saes.length) await open(wanted());
  } catch (error) {
    show(one, errorNotice(error, { retry: load }));
  } finally {
    show(byId("waiting"));
  }
}

function wanted() {
  const asked = new URLSearchParams(location.search).get("sae");
  return saes.find((each) => [each.id, each.name, ...each.aliases].includes(asked)) ?? saes[0];
}

const nothing = () =>
  notice("info", h("p", {}, "No SAE is registered here. One command makes one for your model:"),
    code("featurehub build MODEL --text TEXTS.json --out SAE"));

const chooser = () =>
  h("ul", { class: "saes", "aria-label": "SAEs" }, saes.map((each) =>
    h("li", {}, h("button", { type: "button", class: "card sae", data: { id: each.id }, on: { click: () => open(each) } },
      h("span", { class: "called" }, each.name, " ", stateBadge(each.state)),
      h("span", { class: "muted" }, `${each.model} · ${layer(each.hook)} · ${count(each.d_sae)} features`),
      h("span", { class: "muted" }, [each.loaded ? "served here" : "not served", each.is_default && "default of its model"]
        .filter(Boolean).join(" · "))))));

async function open(sae) {
  running.abort();
  running = new AbortController();
  const { signal } = running;
  for (const each of byId("list").querySelectorAll(".sae")) each.setAttribute("aria-pressed", String(each.dataset.id === sae.id));
  const report = new URLSearchParams(location.search).get("report");
  show(one, wait(`Reading what is known of ${sae.name}…`));
  try {
    const id = encodeURIComponent(sae.id);
    const [card, history] = await Promise.all([
      get(`v1/saes/${id}`, {}, { signal }), get(`v1/saes/${id}/drift`, {}, { signal }),
    ]);
    if (signal.aborted) return;
    const drift = h("section", { class: "card", "aria-labelledby": "drift-title" });
    show(one, h("div", { class: "columns" }, standing(card, history), h("div", { class: "column" }, quality(card), identity(card))), drift);
    showDrift(drift, card, history, history.data.find((each) => each.id === report) ?? chosen(history));
    say(`${sae.name}, ${sae.state}`);
  } catch (error) {
    if (error.name !== "AbortError") show(one, errorNotice(error, { retry: () => open(sae) }));
  }
}

const chosen = ({ data, decides }) => data.find((each) => each.id === decides) ?? data[0] ?? null;

function keep(sae, report) {
  history.replaceState(null, "", `${location.pathname}?${queryText({ sae: sae.name, report })}`);
}

// How it stands here, and what the server does about it.
function standing(card, { decides }) {
  return h("section", { class: "card", "aria-labelledby": "standing-title" },
    h("h2", { id: "standing-title" }, card.name, " ", stateBadge(card.state)),
    h("p", {}, why(card, decides)),
    card.overrides.length > 0 && h("p", {}, `The server runs otherwise than the model's files say (${card.overrides.join(", ")}), so nothing counts as fresh.`),
    h("h3", {}, "What this server does"),
    doing(card),
    h("h3", {}, "What you can do"),
    commands(card, decides));
}

function why({ state, served_model: served, differences, model }, decides) {
  if (!served) return "No model is loaded here, so nothing can be said of drift: this server hosts the registry alone.";
  const same = differences.length === 0;
  if (same) return `The loaded model, ${served}, is the very model that this SAE was made for: nothing can have drifted.`;
  const other = `The loaded model, ${served}, is not the one that this SAE was made for (${model}): they differ in ${differences.join(", ")}. `;
  if (!decides) return `${other}No drift check has looked at it yet.`;
  const found = {
    fresh: "A drift check found that it holds all the same.",
    suspect: "A drift check found that part of it may no longer hold: each feature has a verdict of its own, below.",
    stale: "A drift check found that it no longer holds as a whole.",
    unchecked: "A drift check was run, and could not say.",
  };
  return other + found[state];
}

function doing({ on_stale: onStale, loaded }) {
  if (!onStale) return h("p", {}, "It answers no chats.");
  const refuses = onStale === "refuse";
  return [
    !loaded && h("p", {}, "It does not serve this SAE: the following is of those that it serves."),
    h("ul", { class: "listed" },
      h("li", {}, stateBadge("fresh"), " steers as asked."),
      h("li", {}, stateBadge("suspect"), " and ", stateBadge("unchecked"), " steer too; every answer carries a warning that says so."),
      h("li", {}, stateBadge("stale"), refuses
        ? " is refused: the request gets HTTP 409 with the report and the closest feature that holds, and no answer is given. A request that wants it all the same says on_stale: \"warn\"."
        : " steers with a warning (this server runs with --on-stale warn). A request that wants it refused says on_stale: \"refuse\".")),
    h("p", { class: "muted" }, "Nothing is left out in silence: an answer is either steered as asked, or it says what was not."),
  ];
}

function commands(card, decides) {
  const check = `featurehub drift check ${shellWord(card.name)} --model FOLDER-OF-${(card.served_model ?? "THE-MODEL").replace(/[^\w.-]+/g, "-")}`;
  const refresh = [
    `featurehub train RETRAINED --parent ${shellWord(card.name)} --text TEXTS.json --out REFRESHED --tokens 200000`,
    "featurehub label SAE RETRAINED --text TEXTS.json --budget 20min",
    "featurehub serve RETRAINED --sae SAE",
  ].join("\n");
  const intact = card.served_model && card.differences.length === 0;
  return [
    h("p", {}, intact ? "Nothing is to be done. After the next training of the model:" : decides ? "Check it again:" : "Check it:"),
    code(check, "check"),
    h("details", {}, h("summary", {}, "Make an SAE for the retrained model"),
      h("p", {}, "It begins with this SAE and needs a small share of its tokens. SAE in the second line is the folder that the first one prints."),
      code(refresh, "commands")),
  ];
}


const identity = (card) =>
  h("section", { class: "card", "aria-labelledby": "identity-title" }, h("h2", { id: "identity-title" }, "What it is"), facts(card));

function facts(card) {
  const { manifest } = card;
  const rows = [
    ["Made for", card.revision ? `${card.model} at ${card.revision.slice(0, 12)}` : card.model],
    ["Reads and writes", `${layer(card.hook)} (${card.hook})`],
    ["Features", `${count(card.d_sae)}, ${manifest.architecture}`],
    ["Active on a token", card.metrics.l0 !== undefined && `${number(card.metrics.l0)} features on average (L0)`],
    ["Trained on", [manifest.dataset.name, manifest.dataset.tokens && `${count(manifest.dataset.tokens)} tokens`].filter(Boolean).join(", ")],
    ["Made", time(card.created)],
    ["Also called", card.aliases.join(", ")],
    ["Made from", manifest.parent && link("saes", { sae: manifest.parent }, manifest.parent.slice(0, 12))],
    ["Id", h("code", {}, card.id)],
  ];
  return factList(rows.filter(([, value]) => value));
}

// How good it is, in shares as bars, and among others where there are several.
function quality(card) {
  const names = Object.keys(MEASURES).filter((each) => MEASURES[each][2] && card.metrics[each] !== undefined);
  const compared = saes.length > 1 ? saes : [card];
  return h("section", { class: "card", "aria-labelledby": "quality-title" },
    h("h2", { id: "quality-title" }, "How good it is"),
    names.map((each) => {
      const shown = compared.filter((sae) => sae.metrics[each] !== undefined);
      return bars({
        title: MEASURES[each][0], about: MEASURES[each][1], unit: "share", text: percent,
        rows: shown.map((sae) => ({ name: sae.name, value: sae.metrics[each], chosen: sae.id === card.id })),
      });
    }),
    h("details", {}, h("summary", {}, "All scores on held-out text"), scores(card.metrics)),
    card.evaluations.length > 0 && h("details", {}, h("summary", {}, `${card.evaluations.length} later evaluations`), card.evaluations.map((each) =>
      [h("h3", {}, `${each.model} on ${each.text}, ${time(each.created)}`), scores(each.metrics)])));
}

function scores(metrics) {
  const rows = Object.entries(metrics).filter(([name]) => !DETAILS.some((each) => name.startsWith(each)));
  return table(["Score", "Value", "What it says"], rows.map(([name, value]) =>
    [MEASURES[name]?.[0] ?? name.replaceAll("_", " "), number(value), MEASURES[name]?.[1] ?? ""]));
}

// The reports, newest first, and one of them whole.
function showDrift(section, card, history, report) {
  keep(card, report?.id === chosen(history)?.id ? null : report?.id);
  show(section, h("h2", { id: "drift-title" }, "Drift reports"));
  if (report === null) {
    section.append(h("p", {}, "No drift check has been run on this SAE. The command above runs one: it takes minutes, and its report appears here."));
    return;
  }
  const rows = history.data.map((each) => [
    h("button", { type: "button", class: "quiet", "aria-pressed": String(each.id === report.id), on: { click: () => showDrift(section, card, history, each) } }, time(each.created)),
    each.model, stateBadge(each.state), each.id === history.decides ? h("strong", {}, "loaded here; it decides") : "", h("span", { class: "because" }, each.reason),
  ]);
  const whole = h("div", {});
  section.append(history.data.length > 1 ? table(["Report", "On model", "Verdict", "", "Because"], rows, { caption: "Latest first" }) : "", whole);
  const before = history.data[history.data.indexOf(report) + 1] ?? null;
  reportView(whole, card, report, { decides: report.id === history.decides, before, signal: running.signal });
}

load();
