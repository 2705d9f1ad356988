// What is set on the pages that steer. It becomes the keys of a request, and a page's query, and comes back from both.

const WEIGHT = 0.7; // Of a feature that is added without one: strong enough to be seen, seldom enough to break a text.
const SAMPLING = { temperature: 0.7, max_tokens: 80, seed: 1 };
const NUMBERS = Object.keys(SAMPLING);

/** Nothing set: edits by name, what ends an answer, and how it is drawn. */
export const blank = () => ({
  edits: [], aborts: [], system: "", positions: "all", on_stale: "refuse", reads: true, asks: [], ...SAMPLING,
});

/** An edit. `name` is what a request calls its feature or group; `when` is null, or {kind: "all" | "any", list: […]}. */
export const edit = (name, weight = WEIGHT, rest = {}) => ({ name, weight, mode: "nudge", when: null, on: true, ...rest });

/** An edit as a request writes it: a number, or an object. */
export function editFrom(name, written) {
  if (typeof written === "number") return edit(name, bounded(written));
  const { weight, mode = "nudge", when } = written ?? {};
  return edit(name, typeof weight === "number" ? bounded(weight) : mode === "ablate" ? 0 : WEIGHT, { mode, when: whenFrom(when) });
}

/** A request's `when`: one condition, or `all` or `any` of some. */
export function whenFrom(written) {
  if (!written) return null;
  if (written.feature) return { kind: "all", list: [{ ...written }] };
  const kind = written.any?.length ? "any" : "all";
  return { kind, list: (written[kind] ?? []).map((each) => ({ ...each })) };
}

const bounded = (weight) => Math.max(-1, Math.min(1, weight));

function written({ weight, mode, when }) {
  const waits = conditionOf(when);
  if (mode === "nudge" && waits === null) return weight;
  return { ...(mode !== "nudge" && { mode }), ...(mode !== "ablate" && { weight }), ...(waits && { when: waits }) };
}

function conditionOf(when) {
  const list = (when?.list ?? []).filter((each) => each.feature).map(({ feature, op = ">", value, so_far }) => ({ feature, op, value, ...(so_far && { so_far }) }));
  if (list.length === 0) return null;
  return list.length === 1 ? list[0] : { [when.kind]: list };
}

/** The edits that are switched on, as a request's `features`. */
export const featuresOf = (set) =>
  Object.fromEntries(set.edits.filter((each) => each.on).map((each) => [each.name, written(each)]));

/** What ends an answer, as a request's `abort_when`. */
export const abortsOf = (set) =>
  set.aborts
    .map(({ when, event }) => ({ when: conditionOf(when), ...(event && { event }) }))
    .filter((each) => each.when !== null);

/** Whether a request would be steered, or ended early, at all. */
export const steers = (set) => set.edits.some((each) => each.on) || abortsOf(set).length > 0;

/** The body of a request for the answer to these messages. `steered` false leaves our edits out of it. */
export function bodyOf(set, model, messages, { steered, reads = set.reads }) {
  const system = set.system.trim() ? [{ role: "system", content: set.system }] : [];
  const body = { model, messages: [...system, ...messages] };
  for (const name of NUMBERS) body[name] = set[name];
  if (reads) body.return_activations = { top_k: 5 };
  if (!steered) return body;
  const features = featuresOf(set), aborts = abortsOf(set);
  const steer = { ...(set.positions !== "all" && { positions: set.positions }), ...(set.on_stale !== "refuse" && { on_stale: set.on_stale }) };
  return {
    ...body,
    ...(Object.keys(features).length && { features }),
    ...(Object.keys(steer).length && { steer }),
    ...(aborts.length && { abort_when: aborts }),
  };
}

/** The query of a page that shows this: `features` and `abort_when` as in a request, and what differs from `blank`. */
export function queryOf(set) {
  const plain = blank(), query = {};
  const features = Object.fromEntries(set.edits.map((each) => [each.name, written(each)]));
  if (set.edits.length) query.features = JSON.stringify(features);
  const off = set.edits.filter((each) => !each.on).map((each) => each.name);
  if (off.length) query.off = off;
  const aborts = abortsOf(set);
  if (aborts.length) query.abort_when = JSON.stringify(aborts);
  for (const name of ["system", "positions", "on_stale", ...NUMBERS]) {
    if (set[name] !== plain[name]) query[name] = String(set[name]);
  }
  if (!set.reads) query.reads = "no";
  if (set.asks.length) query.ask = set.asks;
  return query;
}

/** What a query says; `feature=NAME` is short for one feature. What cannot be read is left out, and said in `problem`. */
export function setFrom(search) {
  const given = new URLSearchParams(search), set = blank();
  let problem = "";
  const json = (name, otherwise) => {
    try {
      return given.has(name) ? JSON.parse(given.get(name)) : otherwise;
    } catch {
      problem = `The link's “${name}” cannot be read, so it is left out.`;
      return otherwise;
    }
  };
  const features = Object.entries(json("features", {}) ?? {}).slice(0, 32);
  set.edits = features.map(([name, value]) => editFrom(name, value));
  for (const name of given.getAll("feature")) if (!set.edits.some((each) => each.name === name)) set.edits.push(edit(name));
  for (const each of set.edits) each.on = !given.getAll("off").includes(each.name);
  const aborts = json("abort_when", []);
  set.aborts = (Array.isArray(aborts) ? aborts : []).map(abortFrom);
  for (const name of ["system", "positions", "on_stale"]) set[name] = given.get(name) ?? set[name];
  for (const name of NUMBERS) {
    const value = Number(given.get(name) || NaN);
    if (Number.isFinite(value)) set[name] = value;
  }
  set.reads = given.get("reads") !== "no";
  set.asks = given.getAll("ask").slice(0, 20);
  return { set, problem };
}

/** An abort as a request writes it: a condition with an event, or a condition in `when`. */
export function abortFrom({ when, event = "", ...condition }) {
  return { when: whenFrom(when ?? condition), event };
}

/** A stored variant's edits and aborts, by the features that its names meant when it was saved. */
export function variantSet({ features, abort_when: aborts, pinned }) {
  const meant = (name) => pinned[name]?.id ?? name;
  const named = (when) => when && { ...when, list: when.list.map((each) => ({ ...each, feature: meant(each.feature) })) };
  return {
    edits: Object.entries(features).map(([name, value]) => {
      const own = editFrom(meant(name), value);
      return { ...own, when: named(own.when) };
    }),
    aborts: aborts.map(abortFrom).map((each) => ({ ...each, when: named(each.when) })),
  };
}
