// The page of one feature: what it reads, what it writes, what steering with it does, what is near, how it was named.
import { get } from "./api.js";
import { byId, h, link, say, show } from "./dom.js";
import {
  bar, code, copyButton, densityBar, errorNotice, factList, featureLink, notice, readsBar, stateBadge, wait, writesBar,
} from "./elements.js";
import { count, density, labelOf, layer, nameOf, number, percent, shellWord, signed, time } from "./format.js";
import { mapOf } from "./map.js";
import { baseModel } from "./model.js";
import { curves, histogram } from "./plot.js";
import { relabelForm } from "./relabel.js";
import { shadedText, shadeLegend } from "./shaded.js";
import { tryout } from "./tryout.js";

const AROUND = 24; // Tokens of a context that are shown before and after its strongest one.
const OPEN = 4; // Contexts that are shown at once.
const given = new URLSearchParams(location.search);

async function load() {
  const name = given.get("name");
  if (!name) return show(byId("waiting"), notice("info", h("p", {}, "The address names no feature. ", link("search", {}, "Find one"), ".")));
  show(byId("waiting"), wait("Reading the feature…"));
  try {
    const of = given.get("artifact");
    const [feature, saes, model] = await Promise.all([
      get(`v1/features/${encodeURIComponent(name)}`, of ? { artifact: of } : {}), get("v1/saes"), servedModel(),
    ]);
    show(byId("waiting"));
    draw({ feature, sae: saes.data.find((each) => each.id === feature.artifact) ?? null, model });
  } catch (error) {
    show(byId("waiting"), errorNotice(error, { retry: load }),
      h("p", {}, link("search", { q: name }, `Search for “${name}”`)));
  }
}

// The name of the model that is served, or null. A registry alone has no list of models to ask for.
async function servedModel() {
  const { engine } = await fetch("healthz").then((response) => response.json(), () => ({ engine: "absent" }));
  return engine === "absent" ? null : baseModel();
}

function draw(page) {
  const { feature } = page;
  document.title = `${labelOf(feature)} · featurehub`;
  show(
    byId("feature"),
    head(page),
    card("reads", "Where it fires", contextsOf(page)),
    card("try", "Try a text", tryingOf(page)),
    h("div", { class: "halves" },
      card("writes", "What it makes likelier", tokensOf(page)),
      card("activity", "How strongly it fires", activityOf(page)),
      card("near", "Near to it", nearOf(page)),
      card("steers", "What steering with it does", steeringOf(page)),
      card("labels", "Its labels", labelsOf(page)),
      card("drift", "Does it still hold?", driftOf(page))),
    card("place", "Where it lies in the dictionary", mapOf(feature, `featurehub features map ${saeOf(page)}`)),
    card("code", "In code", codeOf(page)),
  );
}

const card = (id, title, content) =>
  h("section", { id, class: "card part", "aria-labelledby": `${id}-title` }, h("h2", { id: `${id}-title` }, title), content);

/** What is not known, and the command that finds it out. */
const missing = (text, command = null) =>
  [h("p", { class: "muted" }, text), command && code(command, "command")];

const saeOf = ({ sae, feature }) => shellWord(sae?.name ?? feature.artifact.slice(0, 12));
const relabelling = (page) => `featurehub label ${saeOf(page)} MODEL --text TEXTS.json`;

// The head.

function head(page) {
  const { feature, sae } = page;
  const where = [sae?.name, sae && layer(sae.hook), sae && sae.model.split("/").pop(), `latent ${feature.latent}`];
  return h(
    "header", { class: "card title" },
    h("h1", { id: "title" }, labelOf(feature), " ", stateBadge(feature.state)),
    h("p", { class: "muted" }, where.filter(Boolean).join(" · "), feature.aliases.length > 0 && ` · also called ${feature.aliases.join(", ")}`),
    h("p", { id: "sentence" }, sentence(page)),
    h("div", { class: "measures" }, readsBar(feature), writesBar(feature), densityBar(feature)),
    h("p", { class: "buttons" },
      feature.strength !== null && link("playground", { feature: nameOf(feature) }, "Steer with it", { class: "button primary" }),
      copyButton(labelOf(feature), "Copy name"), copyButton(feature.id, "Copy id"), copyButton(() => location.href, "Copy link")),
  );
}

// In plain words: on what it fires, and what it makes the model say.
function sentence({ feature }) {
  const peaks = words(strongestTokens(feature.contexts));
  const up = words(feature.top_tokens.map((each) => each.token)), down = words(feature.bottom_tokens.map((each) => each.token));
  const fires = feature.density > 0
    ? `It fires on ${density(feature.density)}${peaks.length ? `, most strongly at ${quoted(peaks)}` : ""}.`
    : "It was never seen to fire.";
  const writes = up.length ? ` Turned up, it makes ${quoted(up)} likelier${down.length ? `, and ${quoted(down)} less likely` : ""}.` : "";
  return fires + writes;
}

const words = (tokens) => [...new Set(tokens.map((each) => each.trim()).filter(Boolean))].slice(0, 4);
const quoted = (texts) => new Intl.ListFormat("en").format(texts.map((each) => `“${each}”`));
const strongestTokens = (contexts) =>
  contexts
    .flatMap(({ tokens, activations }) => tokens.map((token, at) => [token, activations[at]]))
    .filter(([, value]) => value > 0)
    .sort(([, a], [, b]) => b - a)
    .map(([token]) => token);
const peakAt = ({ activations }) => activations.reduce((best, each, at) => (each > activations[best] ? at : best), 0);

// Where it fires.

function contextsOf(page) {
  const { feature } = page;
  if (feature.contexts.length === 0) return missing("No text is kept on which it fires. Labelling the SAE keeps some:", relabelling(page));
  const max = feature.max_activation || Math.max(...feature.contexts.flatMap((each) => each.activations));
  const item = (each) => h("li", {}, contextOf(each, max));
  const rest = feature.contexts.slice(OPEN);
  return [
    h("p", { class: "muted" }, "Texts on which it fires most. Point at a coloured token, or walk through them with ← and →, for its value."),
    shadeLegend(max),
    h("ol", { class: "contexts" }, feature.contexts.slice(0, OPEN).map(item)),
    rest.length > 0 && h("details", {}, h("summary", {}, `${rest.length} more`), h("ol", { class: "contexts", start: OPEN + 1 }, rest.map(item))),
  ];
}

function contextOf({ tokens, activations }, max) {
  const peak = peakAt({ activations });
  const from = Math.max(0, peak - AROUND), to = Math.min(tokens.length, peak + AROUND + 1);
  const shown = [...tokens.keys()].slice(from, to).filter((at) => tokens[at] !== "" || activations[at] > 0);
  const text = shadedText(shown.map((at) => tokens[at]), shown.map((at) => activations[at]), { max });
  if (from > 0) text.prepend("… ");
  if (to < tokens.length) text.append(" …");
  return text;
}

// Try a text.

function tryingOf(page) {
  const { feature, sae, model } = page;
  if (model === null) return missing("No model is served here, so no text can be read. This serves one with its SAE:", `featurehub serve MODEL --sae ${saeOf(page)}`);
  if (!sae?.loaded) return missing("Its SAE is not served here, so no text can be read. This serves it:", `featurehub serve MODEL --sae ${saeOf(page)}`);
  const first = feature.contexts[0]?.tokens.join("").trim() ?? "";
  return tryout(feature, first.slice(0, 300));
}

// How strongly it fires.

function activityOf(page) {
  const { feature } = page;
  const quantiles = Object.entries(feature.quantiles).map(([share, value]) => [`${percent(Number(share))} of these below`, number(value)]);
  const facts = [["Fires on", density(feature.density)], ...quantiles, ["At most", number(feature.max_activation)]];
  const list = factList(facts);
  if (feature.histogram === null) return [list, missing("How often it is how active was not counted. Labelling counts it:", relabelling(page))];
  const { low, high, counts } = feature.histogram;
  return [histogram({ title: "How often it is how active, where it is", low, high, counts, x: "activation", y: "tokens" }), list];
}

// What it makes likelier.

function tokensOf(page) {
  const { feature } = page;
  if (feature.top_tokens.length + feature.bottom_tokens.length === 0) {
    return missing("Which tokens it makes likelier was not computed. Labelling does:", relabelling(page));
  }
  const most = Math.max(...[...feature.top_tokens, ...feature.bottom_tokens].map((each) => Math.abs(each.logit)), 1e-9);
  const list = (name, tokens, kind) => h("div", {}, h("h3", {}, name), tokens.length === 0
    ? h("p", { class: "muted" }, "None is known.")
    : h("ol", { class: "logits" }, tokens.map(({ token, logit }) =>
      h("li", {}, bar(visible(token), Math.abs(logit) / most, logit > 0 ? `+${number(logit)}` : number(logit).replace("-", "−"), { kind })))));
  return [
    h("p", { class: "muted" }, "Read off its direction through the model's own vocabulary: how much it adds to each token's score."),
    h("div", { class: "pair" }, list("Likelier", feature.top_tokens, "writes"), list("Less likely", feature.bottom_tokens, "reads")),
  ];
}

// A space at a token's beginning is a dot, since it tells " the" from "the".
const visible = (token) =>
  [token.startsWith(" ") && h("span", { class: "muted", "aria-hidden": "true" }, "·"), token.replace(/^ /, "").replaceAll("\n", "⏎") || "∅"];

// What steering with it does.

function steeringOf(page) {
  const { feature } = page;
  const { calibration } = feature;
  const command = `featurehub calibrate ${saeOf(page)} MODEL --feature ${feature.id}`;
  if (calibration === null) return missing("Nobody has tried to steer with it, and no strength was set. This finds one, by steering:", command);
  if (calibration.strength === null) return h("p", {}, "It writes nothing: its direction is zero, so no edit of it changes an answer.");
  if (calibration.steerability === null) return untried(calibration, command);
  return tried(calibration, command);
}

function untried({ dose, expected_steerability: expected, output_score: score }, command) {
  const facts = [["Weight 1.0", `the model's usual dose: ${percent(dose)} of the stream's size`]];
  if (expected !== null) facts.push(["Expected", `about ${percent(expected)} more answers show the label, by features with such an output score`]);
  if (score !== null) facts.push(["Output score", `${number(score)}: how much a nudge raises the label's own words`]);
  return [h("p", {}, "Nobody has steered with it yet."), factList(facts), missing("This measures it, by steering real answers:", command)];
}

function tried({ strength, dose, steerability, unsteered, coherence, answers, curve }, command) {
  const facts = [
    ["Answers that show the label", `${signed(steerability)}${unsteered === null ? "" : `, over ${percent(unsteered)} unsteered`}`],
    coherence !== null && ["Coherent answers", percent(coherence)],
    answers > 0 && ["Measured on", `${count(answers)} answers`],
    ["Weight 1.0", `changes the stream by ${percent(dose)} of its size`],
  ].filter(Boolean);
  if (curve.length < 2) return [factList(facts), missing("What other weights do was not kept. This measures them:", command)];
  const points = (name) => curve.map((each) => [each.strength / strength, each[name]]).sort(([a], [b]) => a - b);
  const series = [{ name: "answers that show the label", points: points("success") }, { name: "coherent answers", points: points("coherence") }];
  return [curves({ title: "Effect and coherence by weight", series, x: "weight", y: "share of answers", from: 0, to: 1 }), factList(facts)];
}

// Near to it.

const WHY = {
  decoder: ({ place }) => `writes alike (number ${place})`,
  coactive: ({ similarity }) => `fires on the same tokens (${percent(similarity)})`,
  label: ({ similarity }) => `label means the like (${number(similarity)})`,
};

function nearOf(page) {
  const list = h("div", {}, wait("Reading its neighbours…"));
  loadNear(page, list);
  return [list, clusterOf(page)];
}

async function loadNear(page, list) {
  try {
    const { data } = await get(`v1/features/${encodeURIComponent(page.feature.id)}/neighbors`, { limit: 8 });
    const item = (each) => h("li", {}, featureLink(each), " ",
      h("span", { class: "muted" }, each.found.map((found) => WHY[found.source]?.(found)).filter(Boolean).join(", ")));
    show(list, data.length ? h("ul", { class: "near" }, data.map(item)) : missing("None is known. Labelling its SAE finds them:", relabelling(page)));
  } catch (error) {
    show(list, errorNotice(error, { retry: () => loadNear(page, list) }));
  }
}

function clusterOf({ feature }) {
  const others = (feature.cluster?.latents ?? []).filter((each) => each !== feature.latent && each in feature.others);
  if (others.length === 0) return null;
  const chip = (latent) =>
    link("feature", { name: `sae:${feature.artifact}/${latent}` }, feature.others[latent] || `latent ${latent}`, { class: "chip" });
  return [
    h("h3", {}, `Cluster${feature.cluster.name ? ` “${feature.cluster.name}”` : ""}`),
    h("p", { class: "chips" }, others.slice(0, 16).map(chip), others.length > 16 && `and ${others.length - 16} more`),
  ];
}

// Its labels.

function labelsOf(page) {
  const { feature } = page;
  const form = relabelForm(feature, (saved) => draw({ ...page, feature: saved }));
  if (feature.labels.length === 0) return [missing("It has no label yet. Labelling its SAE gives one, or you do:", relabelling(page)), form];
  return [h("ol", { class: "versions" }, [...feature.labels].reverse().map((each) => versionOf(each, feature))), form];
}

function versionOf({ version, outcome, provenance, created }, feature) {
  const current = version === feature.label_version;
  const score = outcome.label && (outcome.score === null ? "not scored" : `score ${percent(outcome.score)}`);
  const scores = Object.entries(outcome.scores ?? {}).map(([name, value]) => `${name.replaceAll("_", " ")} ${number(value)}`);
  const by = `by ${provenance.author} (${[provenance.method, provenance.model].filter(Boolean).join(", ")})`;
  return h(
    "li", { value: version },
    h(current ? "strong" : "span", {}, outcome.label ?? `No label: ${outcome.reason}`), " ",
    current && h("span", { class: "badge plain" }, "current"),
    h("p", { class: "muted" }, [by, time(created), score].filter(Boolean).join(" · ")),
    scores.length > 0 && h("details", { class: "muted" }, h("summary", {}, "All its scores"), scores.join(", ")),
  );
}

// Does it still hold?

function driftOf(page) {
  const { drift } = page.feature;
  if (drift.length === 0) {
    return missing("No drift check has judged it. After the model is retrained, this says whether it still holds:",
      `featurehub drift check ${saeOf(page)} --model RETRAINED`);
  }
  const judged = ({ reads, steers }) => (reads === null ? "the SAE as a whole" : `where it fires: ${reads}; what it writes: ${steers}`);
  const item = (each) => h("li", {}, stateBadge(each.state), ` on ${each.model}: ${each.reason}`,
    h("p", { class: "muted" }, `${judged(each)} · ${time(each.created)}`));
  return [h("p", { class: "muted" }, "What drift checks found of it, newest first."), h("ul", { class: "versions" }, drift.map(item))];
}

// In code.

function codeOf({ feature, model }) {
  const url = new URL("./", location.href).href.replace(/\/$/, "");
  const show = `curl '${url}/v1/features/${feature.id}'`;
  if (feature.strength === null) return [h("p", { class: "muted" }, "No strength is known for it, so requests cannot steer by it yet. This is all that is known of it:"), code(show, "curl")];
  const body = { model: model ?? "MODEL", messages: [{ role: "user", content: "Tell me something." }], features: { [feature.id]: 0.7 } };
  const python = `from featurehub import Client, Variant

client = Client(base_url="${url}")
feature = client.features.get("${feature.id}")
variant = Variant("${body.model}").set(feature, 0.7)
messages = [{"role": "user", "content": "Tell me something."}]
answer = client.chat.completions.create(model=variant, messages=messages)
print(answer.choices[0].message.content)`;
  const curl = `curl '${url}/v1/chat/completions' -H 'content-type: application/json' \\
  -d '${JSON.stringify(body)}'`;
  return [
    h("p", { class: "muted" }, "Weights lie in −1 to 1; 0.7 is a good first one. Below 0, it is turned down."),
    h("div", { class: "cards" }, h("div", {}, h("h3", {}, "Python"), code(python, "Python")),
      h("div", {}, h("h3", {}, "curl"), code(curl, "curl"), h("h3", {}, "All that this page shows"), code(show, "curl"))),
  ];
}

load();
