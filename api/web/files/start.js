// The start page: three personas that were measured to work here, a question, and two answers beside each other.
import { QUESTIONS, answer, reportOf, tell } from "./answer.js";
import { get } from "./api.js";
import { byId, h, link, pageUrl, queryText, show } from "./dom.js";
import { code, errorNotice, featureLink, notice, wait } from "./elements.js";
import { count, labelOf, nameOf, percent } from "./format.js";
import { slider } from "./knob.js";
import { servedModel } from "./model.js";
import { blank, bodyOf, edit, queryOf, setFrom } from "./steering.js";

const CANDIDATES = 9; // So many of the best are looked at closer, for three.
const PAUSE = 400; // Milliseconds after a knob was moved before the answer is written anew.
const set = { ...blank(), max_tokens: 60, reads: false };
const question = byId("question");
const running = { plain: new AbortController(), steered: new AbortController() };
let model = null, personas = [];

async function open() {
  show(byId("state"), wait("Looking for features that steer this model…"));
  try {
    model = await servedModel();
    if (model === null) return show(byId("state"), registryOnly());
    personas = await best();
    if (personas.length === 0) return show(byId("state"), nothingSteers());
    show(byId("state"));
    begin();
  } catch (error) {
    show(byId("state"), errorNotice(error, { retry: open }));
  }
}

// What calibration saw counts: how many more answers showed the label, and how many stayed coherent. Three that share
// no word, so that they differ in kind.
async function best() {
  const { data } = await get("v1/features", { steerable: true, limit: 100 });
  const apart = unlike(data.filter((each) => each.state !== "stale" && each.label), CANDIDATES);
  const cards = await Promise.all(apart.map((each) => get(`v1/features/${encodeURIComponent(each.id)}`)));
  return cards.sort((a, b) => worth(b) - worth(a)).slice(0, 3);
}

const worth = ({ steerability, label_score: score, calibration }) => steerability * (score ?? 0.5) * (calibration?.coherence ?? 0.5);

function unlike(features, number) {
  const seen = new Set(), chosen = [];
  for (const each of features) {
    const words = each.label.toLowerCase().match(/\p{L}{3,}/gu) ?? [];
    if (chosen.length === number || words.some((word) => seen.has(word))) continue;
    words.forEach((word) => seen.add(word));
    chosen.push(each);
  }
  return chosen;
}

const registryOnly = () =>
  notice("info",
    h("p", {}, h("strong", {}, "This server has features to look at, but serves no model that could answer.")),
    h("p", {}, "Start one that does, then open its page:"), code("featurehub serve MODEL --sae SAE", "command"),
    h("p", {}, link("search", {}, "Look at the features")));

const nothingSteers = () =>
  notice("info",
    h("p", {}, h("strong", {}, "No feature here has been seen to steer this model yet.")),
    h("p", {}, "Calibration tries them out; it can be stopped at any time and goes on where it was:"),
    code("featurehub calibrate SAE MODEL", "command"),
    h("p", {}, "Until then, ", link("playground", {}, "try any feature in the playground"), " or ", link("search", {}, "search for one"), "."));

function begin() {
  byId("try").hidden = false;
  const { set: given } = setFrom(location.search);
  set.edits = personas.map((each) => edit(nameOf(each), given.edits.find((own) => own.name === nameOf(each))?.weight ?? 0));
  if (given.edits.length === 0) set.edits[0].weight = 1;
  question.value = given.asks[0] ?? QUESTIONS[0];
  show(byId("personas"), personas.map(persona));
  show(byId("questions"), "Or: ", QUESTIONS.map((each) => h("button", { type: "button", class: "chip", on: { click: () => askFor(each) } }, each)));
  draw();
  ask();
  variants();
}

function persona(feature, at) {
  const { coherence, answers } = feature.calibration ?? {};
  return h("button", { type: "button", class: "card persona", "aria-pressed": "false", on: { click: () => choose(at) } },
    h("strong", {}, labelOf(feature)),
    h("span", { class: "muted" }, `Tested: ${percent(feature.steerability)} more answers showed it`,
      typeof coherence === "number" && answers > 0 && `, ${percent(coherence)} of ${count(answers)} stayed coherent`));
}

function choose(at) {
  set.edits.forEach((each, index) => (each.weight = index === at ? 1 : 0));
  draw();
  steer();
}

function draw() {
  show(byId("knobs"), set.edits.map((each, at) => {
    const label = labelOf(personas[at]);
    return h("li", { class: "knob" }, h("div", { class: "head" }, featureLink(personas[at], { class: "label" })),
      slider(each, { id: `knob${at}`, label, onChange: turned }));
  }));
  mark();
}

// A persona is chosen where its knob alone is turned up.
function mark() {
  const up = set.edits.filter((each) => each.weight !== 0);
  [...byId("personas").children].forEach((each, at) =>
    each.setAttribute("aria-pressed", String(up.length === 1 && up[0] === set.edits[at] && up[0].weight > 0)));
}

let pausing = 0;
function turned() {
  mark();
  keep();
  clearTimeout(pausing);
  pausing = setTimeout(steer, PAUSE);
}

function askFor(text) {
  question.value = text;
  ask();
}

function ask() {
  if (!question.value.trim()) return question.focus();
  return Promise.all([side("plain", false), steer()]);
}

// A weight of 0 changes nothing, so it is not sent.
const steer = () => {
  clearTimeout(pausing);
  keep();
  return side("steered", true);
};

async function side(name, steered) {
  running[name].abort();
  const { signal } = (running[name] = new AbortController());
  const place = byId(name);
  const used = { ...set, edits: set.edits.filter((each) => each.weight !== 0) };
  const messages = [{ role: "user", content: question.value }];
  if (steered) show(byId("report"));
  busy();
  try {
    const got = await answer(bodyOf(used, model, messages, { steered }), place, { signal });
    if (steered) show(byId("report"), got.report ? reportOf(got.report, got.finish) : h("p", { class: "muted" }, "All knobs are at 0: this answer is not steered."));
    tell(steered ? "Steered" : "As it is", got);
  } catch (error) {
    if (error.name !== "AbortError") show(place, errorNotice(error, { retry: () => side(name, steered) }));
    else if (running[name].signal === signal) place.append(h("p", { class: "muted" }, "Stopped."));
  } finally {
    if (running[name].signal === signal) running[name].abort();
    busy();
  }
}

const busy = () => (byId("stop").hidden = Object.values(running).every(({ signal }) => signal.aborted));

function stop() {
  Object.values(running).forEach((each) => each.abort());
  busy();
}

// The address has what is set; the playground takes the same.
function keep() {
  const { max_tokens: _, reads: __, ...own } = set;
  const query = queryOf({ ...blank(), ...own, edits: set.edits.filter((each) => each.weight !== 0), asks: [question.value].filter(Boolean) });
  history.replaceState(null, "", `${location.pathname}?${queryText(query)}`);
  byId("open").href = pageUrl("playground", query);
}

// What others saved here is a click away, where the playground can load it.
async function variants() {
  const more = byId("variants");
  let data;
  try {
    ({ data } = await get("v1/variants", { limit: 6 }));
  } catch (error) {
    more.hidden = false;
    return show(more, `What others saved here could not be read: ${error.message} ${error.advice}`);
  }
  more.hidden = data.length === 0;
  show(more, "Saved here: ", data.map((each) => link("playground", { variant: each.name }, each.name, { class: "chip", title: each.description })));
}

byId("ask-form").addEventListener("submit", (event) => {
  event.preventDefault();
  ask();
});
byId("stop").addEventListener("click", stop);
document.addEventListener("keydown", (event) => event.key === "Escape" && stop());
open();
