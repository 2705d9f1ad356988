// The page that explains an answer. The chat stays in this page: its address says nothing of it.
import { get, post, stream } from "./api.js";
import { attributionView } from "./attribution.js";
import { readChat, writeChat } from "./chat_text.js";
import { byId, h, link, say, show } from "./dom.js";
import { bar, errorNotice, featureLink, notice, stateBadge, wait } from "./elements.js";
import { explanationPage } from "./explanation.js";
import { count, layer, number, percent } from "./format.js";
import { baseModel } from "./model.js";
import { Reading } from "./reading.js";
import { shadedText } from "./shaded.js";

const EXAMPLES = {
  question: "Tell me how to get a loan for a house.",
  chat: "user: How do I get a loan for a house?\n\nassistant: Ask your bank. They want to know what you earn, what you owe, and how much money you can pay at once.",
  json: JSON.stringify([{ role: "user", content: "Tell me a story about the sea." }, { role: "assistant", content: "The captain sailed his ship through the storm, and the sailors sang." }], null, 2),
  text: "The doctor gave the patient a new drug, and the fever went away within a day.",
};
const ANSWER_TOKENS = 120; // At temperature 0: what is explained is what the model is most likely to say, and again tomorrow.
const BY = {
  mean: ["Mean", "strength on average", number], max: ["Max", "greatest strength", number], frequency: ["Fires on", "share of words they fire on", percent],
};
const LIMIT = 20, SHOWN = 8;
const ACTIVE = 8;
const chat = byId("chat"), by = byId("by"), sae = byId("sae"), cancel = byId("cancel");
const served = new Map();
let running = new AbortController();
let model = null, found = null, chosen = null, picked = null;

async function loadServed() {
  const [saes, named] = await Promise.all([get("v1/saes"), baseModel()]);
  for (const each of saes.data) served.set(each.id, each);
  sae.append(...saes.data.filter((each) => each.loaded).map((each) => h("option", { value: each.id }, `${each.name} (${layer(each.hook)})`)));
  model = named;
}

// What is pasted is said to be what it is taken for, before anything is asked.
function describe() {
  const given = byId("read-as");
  if (chat.value.trim() === "") return show(given, "Lines that begin with “user:” or “assistant:”, a JSON list of messages, or a plain text.");
  try {
    const { messages } = readChat(chat.value);
    const said = messages && messages.map(({ role }) => role).join(", ");
    return show(given, messages ? `Read as a chat of ${count(messages.length)} messages: ${said}.` : "Read as a text of nobody in particular; the model can take it as a question.");
  } catch (error) {
    return show(given, error.message);
  }
}

function begin(text) {
  running.abort();
  running = new AbortController();
  show(byId("problem"));
  show(byId("waiting"), wait(text));
  cancel.hidden = false;
  return running.signal;
}

function end(signal) {
  if (signal !== running.signal) return;
  show(byId("waiting"));
  cancel.hidden = true;
}

function failed(error, retry) {
  if (error.name !== "AbortError") show(byId("problem"), errorNotice(error, { retry }));
}

async function answer() {
  const signal = begin("The model is answering…");
  try {
    const { messages = [{ role: "user", content: chat.value.trim() }] } = readChat(chat.value);
    if (messages.at(-1).role === "assistant") throw new Error("The chat ends with an answer already. Add a “user:” line with a question, or click “Explain”.");
    const body = { model, messages, max_tokens: ANSWER_TOKENS, temperature: 0, stream: true };
    let said = "";
    for await (const chunk of stream("v1/chat/completions", body, { signal })) {
      said += chunk.choices[0]?.delta?.content ?? "";
      chat.value = writeChat([...messages, { role: "assistant", content: said.trim() }]);
      chat.scrollTop = chat.scrollHeight;
    }
    describe();
    if (said.trim() === "") throw new Error("The model answered with nothing. Ask something else.");
  } catch (error) {
    failed(error, answer);
    return end(signal);
  }
  return explain();
}

async function explain() {
  const signal = begin("The model is reading the chat, with its features…");
  try {
    const body = { ...readChat(chat.value), ...(sae.value && { sae: sae.value }) };
    const [inspection, activations] = await Promise.all([
      post("v1/features/inspect", { ...body, by: by.value, limit: LIMIT, top_k: 1 }, { signal }),
      post("v1/features/activations", body, { signal }),
    ]);
    const states = await statesOf(inspection.top, signal);
    if (signal.aborted) return;
    const warnings = [...new Set([...inspection.warnings, ...activations.warnings].map(warningOf))];
    found = { body, inspection, by: by.value, reading: new Reading(activations), warnings, states, why: new Map(), made: new Date() };
    picked = null;
    results();
    byId("summary").focus();
    byId("summary").scrollIntoView({ block: "start" });
  } catch (error) {
    failed(error, explain);
  } finally {
    end(signal);
  }
}

// A latent that no feature stands for has no state of its own to look up.
async function statesOf(top, signal) {
  const features = top.map((each) => each.id).filter((id) => !id.startsWith("sae:"));
  if (features.length === 0) return new Map();
  const { data } = await post("v1/features/lookup", { features }, { signal });
  return new Map(data.map((each) => [each.id, each.state]));
}

function results() {
  const { inspection, reading, warnings } = found;
  byId("results").hidden = false;
  byId("summary").textContent = `What was at work in ${count(inspection.content_tokens)} tokens`;
  const saes = inspection.saes.map((each) => h("li", {}, each.name, `, ${layer(each.hook)} `, stateBadge(each.state)));
  show(byId("notes"),
    h("p", { class: "muted" }, "Read on the model as it is, without edits. The SAEs that were asked:"), h("ul", { class: "near" }, saes),
    warnings.length > 0 && notice("warning", h("ul", {}, warnings.map((each) => h("li", {}, each)))));
  const top = inspection.top[0] ?? null;
  chosen = top;
  const most = Math.max(...inspection.top.map((each) => each[found.by]), 0);
  const rows = inspection.top.map((each) => ranked(each, most));
  const rest = rows.slice(SHOWN);
  for (const each of rest) each.hidden = true;
  show(byId("ranked"), rows.length ? rows : h("li", {}, "No feature fired here. Give a longer text."));
  byId("more").hidden = rest.length === 0;
  show(byId("token"));
  choose(top, reading);
  say(`${inspection.top.length} features; the strongest is ${nameOf(top)}`);
}

const CUT = "At some tokens very many features fire; of each token the 64 strongest are drawn. The list counts all of them.";
const warningOf = ({ code, message }) => (code === "activations_cut" ? CUT : message);

const nameOf = (feature) => feature && (feature.label || `latent ${found.reading.latentOf(feature.id) ?? feature.id}`);

function ranked(feature, most) {
  const [title, , text] = BY[found.by];
  const others = Object.keys(BY).filter((each) => each !== found.by);
  const state = found.states.get(feature.id);
  return h("li", { data: { id: feature.id } },
    h("button", { type: "button", class: "pick", on: { click: () => choose(feature) } }, nameOf(feature)),
    state && [" ", stateBadge(state)],
    bar(title, feature[found.by] / most, text(feature[found.by]), { kind: "reads" }),
    h("p", { class: "muted row" },
      h("span", {}, others.map((each) => `${BY[each][0].toLowerCase()} ${BY[each][2](feature[each])}`).join(" · ")),
      h("span", {}, link("feature", { name: feature.id }, "About it"), " ", link("playground", { feature: feature.id }, "Steer with it"))));
}

function choose(feature) {
  chosen = feature;
  for (const each of byId("ranked").children) {
    each.querySelector(".pick")?.setAttribute("aria-pressed", String(each.dataset.id === feature?.id));
  }
  byId("map-title").textContent = feature === null ? "The text" : `Where “${nameOf(feature)}” fires`;
  drawMap();
}

function drawMap() {
  const { reading } = found;
  const values = chosen === null ? reading.tokens.map(() => 0) : reading.of(chosen.id);
  show(byId("map"), shadedText(reading.tokens, values, { content: reading.content, onPick: pick }));
  showPicked();
}

function showPicked() {
  byId("map").querySelectorAll(".token").forEach((token, at) => token.setAttribute("aria-pressed", String(at === picked)));
}

function pick(at) {
  picked = at;
  showPicked();
  const { reading } = found;
  const active = reading.at(at, ACTIVE);
  const most = active[0]?.activation ?? 1;
  const why = h("div", {});
  show(byId("token"),
    h("h3", {}, `The word “${reading.tokens[at].trim() || "⏎"}”, token ${at}`),
    why,
    h("details", {}, h("summary", {}, `Features that fire at it (${active.length})`),
      active.length === 0 ? h("p", {}, "None.") : h("ul", { class: "listed" }, active.map((each) => h("li", {},
        h("button", { type: "button", class: "pick", on: { click: () => choose(each) } }, nameOf(each)),
        bar("", each.activation / most, number(each.activation), { kind: "reads" }))))));
  attributionView(why, { found, at, name: nameOf, choose });
  byId("token").scrollIntoView({ block: "nearest" });
}

byId("ask-form").addEventListener("submit", (event) => {
  event.preventDefault();
  explain();
});
byId("answer").addEventListener("click", answer);
cancel.addEventListener("click", () => {
  running.abort();
  show(byId("waiting"));
  cancel.hidden = true;
  say("Cancelled");
});
chat.addEventListener("input", describe);
for (const control of [by, sae]) control.addEventListener("change", () => found && explain());
for (const each of document.querySelectorAll("[data-example]")) {
  each.addEventListener("click", () => {
    chat.value = EXAMPLES[each.dataset.example];
    describe();
    chat.focus();
  });
}
byId("more").addEventListener("click", () => {
  const hidden = [...byId("ranked").children].filter((each) => each.hidden);
  for (const each of hidden) each.hidden = false;
  byId("more").hidden = true;
  hidden[0]?.querySelector(".pick").focus();
});
byId("save").addEventListener("click", () => {
  const text = explanationPage(found, { model, chosen, name: nameOf, by: BY[found.by][1] });
  const address = URL.createObjectURL(new Blob([text], { type: "text/html" }));
  h("a", { href: address, download: `explanation-${found.made.toISOString().slice(0, 19).replaceAll(":", "")}.html` }).click();
  setTimeout(() => URL.revokeObjectURL(address), 60_000);
  say("Saved");
});

loadServed().catch((error) => show(byId("problem"), errorNotice(error)));
