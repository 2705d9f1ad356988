// What made a token likely: measured by the server, which switches features off one at a time.
import { post } from "./api.js";
import { h, say, show } from "./dom.js";
import { bar, errorNotice, wait } from "./elements.js";
import { count, number, percent } from "./format.js";

const FIRST = 2; // The API's: the token before the first is left alone.
const SHOWN = 10, WORDS = 3;
const NONE = "no difference";
let running = new AbortController();

/** Measures what made token `at` of `found` likely, and says so in `box`. What was measured is kept in `found.why`. */
export async function attributionView(box, { found, at, name, choose }) {
  running.abort();
  if (at < FIRST) return show(box, h("p", {}, "The first two tokens have nothing before them that could explain them. Choose a later one."));
  if (found.why.has(at)) return show(box, ...view(found.why.get(at), name, choose));
  running = new AbortController();
  const { signal } = running;
  const began = Date.now();
  const line = wait("Measuring what made it likely…");
  const stop = h("button", { type: "button", class: "quiet" }, "Cancel");
  const tick = setInterval(() => {
    line.lastChild.textContent = `Measuring what made it likely: features are switched off one at a time… ${Math.round((Date.now() - began) / 1000)} s`;
  }, 1000);
  const again = () => attributionView(box, { found, at, name, choose });
  stop.addEventListener("click", () => running.abort());
  signal.addEventListener("abort", () => show(box, h("p", {}, "Cancelled. ", h("button", { type: "button", class: "quiet", on: { click: again } }, "Measure it"))));
  show(box, line, stop);
  try {
    const answer = await post("v1/features/attribute", { ...found.body, position: at, limit: SHOWN, tokens: WORDS }, { signal });
    found.why.set(at, answer);
    show(box, ...view(answer, name, choose));
    say(`Measured: ${answer.features.length} features`);
  } catch (error) {
    if (error.name !== "AbortError") show(box, errorNotice(error, { retry: again }));
  } finally {
    clearInterval(tick);
  }
  return box;
}

/** In words, how much likelier a feature made the token: `effect` is in nats. */
export function factor(effect) {
  const times = number(Math.exp(Math.abs(effect)));
  return times === "1" ? NONE : `${times}× ${effect > 0 ? "likelier" : "less likely"}`;
}

/** The words at which a feature made a difference by itself: {text, effect} each. */
export const places = ({ tokens }) =>
  tokens.filter(({ effect }) => factor(effect) !== NONE).map(({ text, effect }) => ({ text: text.trim() || "⏎", effect }));

/** How likely the token was, in words. */
export const likely = ({ logprob }) => {
  const share = Math.exp(logprob);
  return share >= 0.01 ? percent(share) : `1 in ${count(Math.round(1 / Math.max(share, 1e-9)))}`;
};

function view({ features, target, active, measured }, name, choose) {
  const most = Math.max(...features.map(({ effect }) => Math.abs(effect)), 1e-9);
  const acting = features.filter(({ effect }) => factor(effect) !== NONE);
  const all = acting.length === features.length; // Those that were left out have smaller effects than these.
  const rest = all || acting.length === 0 ? "" : ` The other ${count(measured - acting.length)} made no difference.`;
  const then = acting.length > 0 ? "With each of these features at work it was:" : "No feature made a difference to it by itself.";
  const rows = acting.map((each) => h("li", { class: each.effect < 0 ? "against" : "for" },
    h("button", { type: "button", class: "pick", on: { click: () => choose(each) } }, name(each)),
    bar(each.effect < 0 ? "against" : "for", Math.abs(each.effect) / most, factor(each.effect), { kind: each.effect < 0 ? "writes" : "reads" }),
    places(each).length > 0 && h("p", { class: "muted" }, "Above all at ", places(each).map(({ text, effect }, at) =>
      [at > 0 && ", ", h("q", {}, text), ` (${factor(effect)})`]))));
  return [
    h("h4", {}, "What made it likely"),
    h("p", {}, `After what stands before it, the model gave this token a chance of ${likely(target)}. ${then}`),
    acting.length > 0 && h("ol", { class: "ranked" }, rows),
    h("p", { class: "muted" }, `Measured: each of ${count(measured)} features (of ${count(active)} that were active) was switched off by itself, and the token's probability compared.${rest}`),
  ];
}
