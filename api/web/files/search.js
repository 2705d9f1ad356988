// The search page. The form's names are those of GET v1/features, and of this page's own query: a link is a search.
import { get } from "./api.js";
import { byId, h, link, queryText, say, show } from "./dom.js";
import { arrows, copyButton, errorNotice, factList, featureLink, featureRow, notice, wait } from "./elements.js";
import { count, labelOf, layerOf, nameOf, number, percent } from "./format.js";

const PAUSE = 40; // Milliseconds after a key before a search begins: typing is not held up, and quick keys share one.
const PATIENCE = 250; // Milliseconds before a wait is shown.
const form = byId("search"), input = byId("q"), rows = byId("rows"), more = byId("more");
const saes = new Map(), saesKnown = loadSaes().catch(() => {});
let running = new AbortController();
let following = null;

const query = () => Object.fromEntries([...new FormData(form)].filter(([, value]) => value.trim() !== ""));
const filtersOf = ({ q, ...rest }) => Object.keys(rest).length;

async function search() {
  running.abort();
  running = new AbortController();
  const { signal } = running;
  const asked = query();
  keep(asked);
  const slow = setTimeout(() => show(byId("waiting"), wait("Searching…")), PATIENCE);
  rows.setAttribute("aria-busy", "true");
  try {
    const [page] = await Promise.all([pageOf(asked, signal), saesKnown]);
    if (!signal.aborted) results(asked, page);
    if (page.data.length === 0 && asked.q && !filtersOf(asked)) await suggest(asked, signal);
  } catch (error) {
    if (error.name !== "AbortError") failed(error);
  } finally {
    clearTimeout(slow);
    if (!signal.aborted) {
      show(byId("waiting"));
      rows.setAttribute("aria-busy", "false");
    }
  }
}

async function pageOf(asked, signal) {
  if (asked.q || filtersOf(asked)) return get("v1/features", { ...asked, explain: Boolean(asked.q) }, { signal });
  return examples(signal);
}

// An empty page would stop people: it shows what works best here. Whether anything does is not waited for.
async function examples(signal) {
  const [tried, any] = await Promise.all([{ steerable: true, limit: 100 }, {}].map((each) => get("v1/features", each, { signal })));
  if (tried.data.length === 0) return { ...any, kind: "any" };
  const data = tried.data.sort((a, b) => b.steerability - a.steerability).slice(0, 12);
  return { ...tried, data, next: null, kind: "examples" };
}

function results(asked, page) {
  following = page.next;
  more.hidden = following === null;
  byId("heading").textContent = headingOf(asked, page);
  show(byId("hints"), hintsOf(asked, page));
  show(rows, page.data.map(row));
  say(page.data.length ? `${page.data.length} features, best first${following ? ", and more" : ""}` : "No feature found");
}

function headingOf(asked, page) {
  if (page.kind === "examples") return "Features that steer best here";
  if (page.kind === "any") return "All features";
  if (page.data.length === 0) return "No feature found";
  const number = count(page.data.length) + (page.next ? " or more" : "");
  return asked.q ? `${number} for “${asked.q}”, best first` : `${number} that fit the filters`;
}

function hintsOf(asked, page) {
  if (page.kind === "examples") {
    const words = [...new Set(page.data.map((each) => each.label))].slice(0, 6);
    return h("p", { class: "chips" }, "Try ", words.map((each) => chip(each)));
  }
  if (page.data.length === 0) {
    return notice("info", h("p", {}, filtersOf(asked) ? "Fewer filters, or other words, may find one." : "Other words may find one."));
  }
  const groups = (page.groups ?? []).map((group) =>
    h("li", {}, link("playground", { feature: group.name }, group.name), ` (${group.members.length} features together)`,
      group.description && h("span", { class: "muted" }, ` ${group.description}`)));
  return [meantOf(asked, page), groups.length > 0 && notice("info", h("p", {}, "Groups of features:"), h("ul", {}, groups))];
}

// Where no name has a word of the query and what came resembles one, it is said what was taken for it.
function meantOf(asked, page) {
  const first = page.data[0]?.found.find((each) => each.source === "name")?.words;
  if (!first || page.data[0].found.some((each) => ["exact", "text"].includes(each.source))) return null;
  const typed = asked.q.toLowerCase().match(/[\p{L}\p{N}]+/gu) ?? [];
  if (typed.some((word) => page.data.some((each) => each.label.toLowerCase().includes(word)))) return null;
  return h("p", { class: "chips" }, "Did you mean ", chip(first));
}

const chip = (text) =>
  h("button", { type: "button", class: "chip", on: { click: () => searchFor(text) } }, text);

function searchFor(text) {
  input.value = text;
  input.focus();
  search();
}

// The error of a name that nothing has carries the names that are closest.
async function suggest(asked, signal) {
  const names = await get(`v1/features/${encodeURIComponent(asked.q)}`, {}, { signal }).then(
    () => [], (error) => error.suggestions ?? [],
  );
  if (signal.aborted) return;
  if (names.length) show(byId("hints"), h("p", { class: "chips" }, "Did you mean ", names.map((each) => chip(each))));
}

function failed(error) {
  more.hidden = true;
  byId("heading").textContent = "The search failed";
  show(byId("hints"), errorNotice(error, { retry: search, onName: searchFor }));
  show(rows);
}

function row(feature) {
  const open = h("button", { type: "button", class: "quiet more", "aria-expanded": "false" }, "Details");
  const inside = h("div", { class: "inside", hidden: true });
  open.setAttribute("aria-label", `Details of ${labelOf(feature)}`);
  const item = featureRow(feature, { sae: saes.get(feature.artifact), extra: [open, inside] });
  item.querySelector(".label").tabIndex = 0;
  const toggle = (opened) => {
    if (opened && !inside.hasChildNodes()) fillDetails(feature, inside);
    inside.hidden = !opened;
    open.setAttribute("aria-expanded", String(opened));
  };
  open.addEventListener("click", () => toggle(inside.hidden));
  item.querySelector(".label").addEventListener("keydown", (event) => {
    if (event.key === "ArrowRight") toggle(true);
    else if (event.key === "ArrowLeft") toggle(false);
    else return;
    event.preventDefault();
  });
  return item;
}

function fillDetails(feature, inside) {
  const near = h("div", {}, wait("Reading its neighbours…"));
  show(
    inside,
    factList(factsOf(feature)),
    h("h3", {}, "Near to it"),
    near,
    h("p", { class: "buttons" },
      link("playground", { feature: nameOf(feature) }, "Steer with it", { class: "button primary" }),
      copyButton(labelOf(feature), "Copy name"), copyButton(feature.id, "Copy id")),
  );
  neighbours(feature, near);
}

function factsOf(feature) {
  const facts = [["Label", `version ${feature.label_version}`], ["Largest activation", number(feature.max_activation)]];
  if (feature.aliases.length) facts.push(["Also called", feature.aliases.join(", ")]);
  if (feature.strength !== null) facts.push(["Weight 1.0 adds", `${number(feature.strength)} times its direction`]);
  if (feature.found.length) facts.unshift(["Found because", h("ul", {}, feature.found.map((each) => h("li", {}, why(each))))]);
  return facts;
}

function why({ source, words, similarity, place }) {
  const near = (what) => `its ${what} is near in meaning (cosine ${number(similarity)})`;
  const reasons = {
    exact: `“${words}” is what you asked for`,
    name: `its name “${words}” has or resembles your words`,
    word: `“${words}” goes with it`,
    text: "texts on which it fires hold your words",
    label: near("label"),
    tokens: near("set of tokens"),
    contexts: near("set of contexts"),
  };
  return `${reasons[source] ?? source} (number ${place} of those)`;
}

async function neighbours(feature, near) {
  try {
    const found = await get(`v1/features/${encodeURIComponent(feature.id)}/neighbors`, { limit: 6 });
    const item = (each) => h("li", {}, featureLink(each), h("span", { class: "muted" }, ` ${placeOf(each)}`));
    show(near, found.data.length ? h("ul", { class: "near" }, found.data.map(item)) : h("p", {}, "None is known."));
  } catch (error) {
    show(near, errorNotice(error, { retry: () => neighbours(feature, near) }));
  }
}

const placeOf = (each) =>
  [saes.get(each.artifact)?.name, each.label_score !== null && `reads ${percent(each.label_score)}`]
    .filter(Boolean)
    .join(" · ");

async function showMore() {
  more.disabled = true;
  show(byId("waiting"), wait("Reading more…"));
  try {
    const asked = query();
    const page = await get("v1/features", { ...asked, explain: Boolean(asked.q), after: following }, { signal: running.signal });
    following = page.next;
    more.hidden = following === null;
    const added = page.data.map(row);
    rows.append(...added);
    byId("heading").textContent = headingOf(asked, { data: [...rows.children], next: following });
    added[0]?.querySelector(".label").focus();
    say(`${added.length} more features`);
  } catch (error) {
    if (error.name !== "AbortError") show(byId("hints"), errorNotice(error, { retry: showMore }));
  } finally {
    more.disabled = false;
    show(byId("waiting"));
  }
}

// The address is that of the search, so that it can be shared and the page can be reloaded.
function keep(asked) {
  const text = queryText(asked);
  history.replaceState(null, "", location.pathname + (text && `?${text}`));
  const used = filtersOf(asked);
  byId("used").hidden = used === 0;
  byId("used").textContent = `${used} set`;
}

function restore() {
  const given = new URLSearchParams(location.search);
  for (const control of form.elements) {
    if (!control.name || !given.has(control.name)) continue;
    const value = given.get(control.name);
    if (control.type === "checkbox") control.checked = value === "true";
    else {
      if (control.tagName === "SELECT") offer(control, [value]);
      control.value = value;
    }
  }
  byId("filters").open = filtersOf(query()) > 0 || matchMedia("(min-width: 62rem)").matches;
}

async function loadSaes() {
  const { data } = await get("v1/saes");
  const served = data.some((each) => each.loaded) ? data.filter((each) => each.loaded) : data;
  for (const each of data) saes.set(each.id, each);
  offer(byId("artifact"), served.map((each) => each.name));
  const layers = [...new Set(served.map((each) => layerOf(each.hook)).filter((each) => each !== null))];
  offer(byId("layer"), layers.sort((a, b) => a - b).map(String));
}

// Adds what a list does not offer yet; an address may have named it before.
function offer(list, values) {
  const known = new Set([...list.options].map((each) => each.value));
  list.append(...values.filter((each) => !known.has(each)).map((value) => h("option", { value }, value)));
}

let waiting = 0;
input.addEventListener("input", () => {
  clearTimeout(waiting);
  waiting = setTimeout(search, PAUSE);
});
form.addEventListener("change", (event) => event.target !== input && search());
form.addEventListener("submit", (event) => {
  event.preventDefault();
  clearTimeout(waiting);
  search();
});
input.addEventListener("keydown", (event) => {
  if (event.key !== "ArrowDown") return;
  event.preventDefault();
  rows.querySelector(".label")?.focus();
});
document.addEventListener("keydown", (event) => {
  const typing = event.target.closest("input, select, textarea, dialog");
  if (event.key === "/" && !typing) {
    event.preventDefault();
    input.focus();
  }
});
arrows(rows, ".label", { before: input });
more.addEventListener("click", showMore);
byId("clear").addEventListener("click", () => {
  const { value } = input;
  form.reset();
  input.value = value;
  search();
});
byId("share").replaceWith(copyButton(() => location.href, "Copy link"));

restore();
search();
