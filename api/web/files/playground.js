// The playground: a chat in which each question is answered twice, unsteered and steered, and everything can be turned.
import { QUESTIONS } from "./answer.js";
import { get, post } from "./api.js";
import { Chat } from "./chat.js";
import { byId, h, pageUrl, queryText, say, show } from "./dom.js";
import { code, copyButton, errorNotice, notice, wait } from "./elements.js";
import { count, labelOf, nameOf } from "./format.js";
import { conditions, knob } from "./knob.js";
import { everyVariant, servedModel } from "./model.js";
import { picker } from "./picker.js";
import { curlCode, openaiCode, sdkCode } from "./snippets.js";
import { abortsOf, bodyOf, edit, featuresOf, queryOf, setFrom, variantSet } from "./steering.js";

const PAUSE = 500; // Milliseconds after a change before the last answer is written anew.
const EDITS = 32;
const { set, problem } = setFrom(location.search);
const known = new Map(); // Rows of features and groups, by the names that edits and conditions use.
const question = byId("question"), settings = byId("settings");
const chat = new Chat(byId("turns"), {
  bodyOf: body, readable: (text) => readable(text), onPick: addFeature, onName: renamed, onStale: steerStale,
  onBusy: (busy) => (byId("stop").hidden = !busy),
});
let model = null;

async function open() {
  show(byId("state"), wait("Asking which model is served…"));
  try {
    model = await servedModel();
    if (model === null) return show(byId("state"), registryOnly());
    const variant = new URLSearchParams(location.search).get("variant");
    if (variant) await take(variant);
    await learn();
    show(byId("state"), problem && notice("warning", h("p", {}, problem)));
    begin();
  } catch (error) {
    show(byId("state"), errorNotice(error, { retry: open }));
  }
}

const registryOnly = () =>
  notice("info", h("p", {}, h("strong", {}, "This server serves no model that could answer.")), h("p", {}, "Start one that does, then open its page:"),
    code("featurehub serve MODEL --sae SAE", "command"));

// Labels and states of what the address names. What nothing is called that stays as it is: the answer says so.
async function learn() {
  const waits = [...set.edits, ...set.aborts].flatMap((each) => each.when?.list ?? []).map((each) => each.feature);
  const names = new Set([...set.edits.map((each) => each.name), ...waits].filter((each) => each && !known.has(each)));
  await Promise.all([...names].map(async (name) => {
    const found = await get(`v1/features/${encodeURIComponent(name)}`).catch((error) => {
      if (error.status === 404 || error.status === 409) return null;
      throw error;
    });
    if (found) known.set(name, found);
  }));
}

function begin() {
  byId("play").hidden = false;
  show(byId("add"), picker({ label: "Add a feature or a group", groups: true, onPick: addFeature }));
  show(byId("questions"), "Try: ", QUESTIONS.map((each) => h("button", { type: "button", class: "chip", on: { click: () => send(each) } }, each)));
  byId("share").replaceWith(copyButton(() => location.href, "Copy link"));
  fillSettings();
  chat.replay(set.asks);
  draw();
  listVariants();
}

// --- What is set --------------------------------------------------------------------------------------------------

function draw() {
  const knobs = set.edits.map((each, at) =>
    knob(each, { id: `knob${at}`, feature: known.get(each.name), known, onChange: changed, onRemove: () => removeEdit(at) }));
  show(byId("knobs"), knobs);
  show(byId("aborts"), set.aborts.map(abort));
  if (set.aborts.length) byId("aborts-box").open = true;
  examples();
  keep();
}

// An empty list would stop people: it shows what steers best here.
async function examples() {
  const place = byId("examples");
  const again = () => {
    show(place);
    examples();
  };
  place.hidden = set.edits.length > 0;
  if (place.hidden || place.hasChildNodes()) return;
  let data;
  try {
    ({ data } = await get("v1/features", { steerable: true, limit: 12 }));
  } catch (error) {
    return show(place, errorNotice(error, { retry: again }));
  }
  if (data.length === 0) return show(place, h("p", { class: "muted" }, "No feature here was seen to steer this model yet. Any can be tried: type what it should be about."));
  const chip = (each) => h("button", { type: "button", class: "chip", on: { click: () => addFeature(each) } }, labelOf(each));
  const apart = data.filter((each, at) => data.findIndex((other) => other.label === each.label) === at).slice(0, 6);
  show(place, h("p", { class: "muted" }, "These steer best here:"), h("p", { class: "chips" }, apart.map(chip)));
}

// What a word's list says of a feature is its label alone; the rest is asked for.
async function addFeature(found) {
  const whole = found.members || "strength" in found ? found : await get(`v1/features/${encodeURIComponent(found.id)}`).catch(() => found);
  const name = whole.members ? whole.name : nameOf(whole);
  const own = set.edits.find((each) => each.name === name);
  if (!own && set.edits.length >= EDITS) return show(byId("state"), notice("warning", h("p", {}, `A request has at most ${EDITS} features: remove one first.`)));
  known.set(name, whole.members ? groupRow(whole) : whole);
  if (own) own.on = true;
  else set.edits.push(edit(name, undefined, whole.strength === null ? { mode: "pin" } : {})); // No strength to add is known of it.
  draw();
  byId(`knob${set.edits.findIndex((each) => each.name === name)}-weight`)?.focus();
  say(`${labelOf(known.get(name))} added`);
  return changed();
}

const groupRow = (group) => ({ label: `${group.name} (${group.members.length} features)` });

// Errors and warnings call features what the request called them: by id.
const readable = (text) => text.replace(/f_[0-9a-f]{16}/g, (id) => (known.get(id) ? labelOf(known.get(id)) : id));

function removeEdit(at) {
  set.edits.splice(at, 1);
  draw();
  (byId("knobs").querySelector("input") ?? byId("add").querySelector("input")).focus();
  changed();
}

// One of the names that the server suggests for one that nothing has.
async function renamed(wrong, name) {
  for (const each of set.edits) if (each.name === wrong) each.name = name;
  for (const each of [...set.edits, ...set.aborts].flatMap((own) => own.when?.list ?? [])) if (each.feature === wrong) each.feature = name;
  await learn().catch(() => {});
  draw();
  chat.again();
}

function steerStale() {
  set.on_stale = "warn";
  fillSettings();
  keep();
  chat.again();
}

function abort(each, at) {
  const event = h("input", { id: `event${at}`, maxlength: 200, value: each.event, placeholder: "Its features' names" });
  const named = () => {
    each.event = event.value;
    changed();
  };
  event.addEventListener("input", named);
  const remove = () => {
    set.aborts.splice(at, 1);
    draw();
    changed();
  };
  return h("li", { class: "knob" },
    conditions(each, { id: `abort${at}`, known, onChange: changed, label: "When this feature is active", text: "Ends where…" }),
    h("div", { class: "field" }, h("label", { for: `event${at}` }, "What the answer calls it"), event),
    h("button", { type: "button", class: "quiet", on: { click: remove } }, "Remove this ending"));
}

function fillSettings() {
  for (const name of ["system", "temperature", "max_tokens", "seed", "positions", "on_stale"]) settings.elements[name].value = String(set[name]);
  settings.elements.reads.checked = set.reads;
}

function readSettings({ target }) {
  if (!target.checkValidity() || (target.type === "number" && target.value === "")) return target.reportValidity();
  const { name } = target;
  set[name] = target.type === "checkbox" ? target.checked : target.type === "number" ? Number(target.value) : target.value;
  keep();
  clearTimeout(pausing);
  pausing = setTimeout(() => chat.again({ both: !["positions", "on_stale"].includes(name) }), PAUSE);
}

let pausing = 0;
function changed() {
  keep();
  clearTimeout(pausing);
  pausing = setTimeout(() => chat.again(), PAUSE);
}

// The address has all that is set, and what was asked, so that it can be shared.
function keep() {
  set.asks = chat.asks;
  const text = queryText(queryOf(set));
  history.replaceState(null, "", location.pathname + (text && `?${text}`));
  const ends = abortsOf(set).length;
  byId("aborts-count").hidden = ends === 0;
  byId("aborts-count").textContent = count(ends);
  if (byId("code").open) showCode();
}

// --- The chat -----------------------------------------------------------------------------------------------------

function body(messages, steered, reads = set.reads) {
  return bodyOf(set, model, messages, { steered, reads });
}

function send(text) {
  if (!text.trim()) return question.focus();
  question.value = "";
  clearTimeout(pausing); // What was just turned is in these answers.
  const sent = chat.ask(text);
  byId("questions").hidden = true;
  keep();
  return sent;
}

function showCode() {
  const messages = chat.messages("steered");
  const asked = messages.length ? messages : [{ role: "user", content: question.value || QUESTIONS[0] }];
  const sent = body(asked, true, false);
  const server = new URL(".", location.href).href.replace(/\/$/, "");
  const options = { server, key: sessionStorage.getItem("featurehub.key") ? "YOUR-KEY" : "none", nameOf: (name) => labelOf(known.get(name) ?? { label: name }) };
  show(byId("snippets"),
    h("p", { class: "muted" }, "Each sends what the steered answer was made from."),
    h("h3", {}, "openai (Python)"), code(openaiCode(sent, options), "openai code"),
    h("h3", {}, "featurehub (Python)"), code(sdkCode(sent, options), "featurehub code"),
    h("h3", {}, "curl"), code(curlCode(sent, options), "curl command"));
}

// --- Variants -----------------------------------------------------------------------------------------------------

async function listVariants() {
  const relist = () => {
    show(byId("saved"));
    listVariants();
  };
  let data;
  try {
    data = await everyVariant();
  } catch (error) {
    show(byId("variant"), h("option", { value: "" }, "The list could not be read"));
    return byId("saved").append(errorNotice(error, { retry: relist }));
  }
  show(byId("variant"), h("option", { value: "" }, data.length ? "Choose…" : "None is saved yet"), data.map((each) => h("option", { value: each.name }, `${each.name} (version ${each.version})`)));
}

async function take(name) {
  const variant = await get(`v1/variants/${encodeURIComponent(name)}`);
  Object.assign(set, variantSet(variant));
  for (const group of Object.values(variant.groups)) known.set(group.name, groupRow(group));
  byId("variant-name").value = variant.name;
  byId("variant-text").value = variant.description;
}

async function load(name) {
  show(byId("saved"), wait(`Reading ${name}…`));
  try {
    await take(name);
    await learn();
    show(byId("saved"), notice("good", h("p", {}, `${name} is loaded.`)));
    draw();
    chat.again();
  } catch (error) {
    show(byId("saved"), errorNotice(error, { retry: () => load(name) }));
  }
}

async function save() {
  const asked = { name: byId("variant-name").value, features: featuresOf(set), abort_when: abortsOf(set), description: byId("variant-text").value, model };
  show(byId("saved"), wait("Saving…"));
  try {
    const saved = await post("v1/variants", asked, { operator: true });
    const url = new URL(pageUrl("playground", { variant: saved.name }), location.href).href;
    show(byId("saved"), notice("good",
      h("p", {}, `Saved as version ${saved.version}. Programs use it with `, h("code", {}, `model="${saved.name}"`), "."), copyButton(url, "Copy its link")));
    say("Saved");
    listVariants();
  } catch (error) {
    show(byId("saved"), errorNotice(error, { retry: save }));
  }
}

byId("ask-form").addEventListener("submit", (event) => {
  event.preventDefault();
  send(question.value);
});
question.addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  send(question.value);
});
document.addEventListener("keydown", (event) => event.key === "Escape" && !event.target.closest("dialog") && chat.stop());
byId("stop").addEventListener("click", () => chat.stop());
byId("new").addEventListener("click", () => {
  chat.clear();
  byId("questions").hidden = false;
  keep();
  question.focus();
});
byId("add-abort").addEventListener("click", () => {
  set.aborts.push({ when: null, event: "" });
  draw();
  byId("aborts").lastElementChild.querySelector("input").focus();
});
settings.addEventListener("change", readSettings);
settings.addEventListener("submit", (event) => event.preventDefault());
byId("variant").addEventListener("change", () => byId("variant").value && load(byId("variant").value));
byId("save").addEventListener("submit", (event) => {
  event.preventDefault();
  save();
});
byId("code").addEventListener("toggle", () => byId("code").open && showCode());
open();
