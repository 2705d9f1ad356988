// "Try a text": what the served model makes of it, token by token, while one types.
import { post } from "./api.js";
import { h, say, show } from "./dom.js";
import { errorNotice, wait } from "./elements.js";
import { count, number, percent } from "./format.js";
import { shadedText } from "./shaded.js";

const PAUSE = 300; // Milliseconds without a key before the model reads: it reads the text as a whole each time.
const CHARS = 4000;

/** The box. `first` is the text that it opens with; `max` the activation of the strongest colour. */
export function tryout(feature, first) {
  const input = h("textarea", { id: "text", rows: 3, maxlength: CHARS, "aria-describedby": "found" });
  input.value = first;
  const found = h("div", { id: "found" });
  let waiting = 0, running = new AbortController();

  async function read() {
    running.abort();
    running = new AbortController();
    const { signal } = running;
    const text = input.value;
    if (!text.trim()) return show(found, h("p", { class: "muted" }, "Type a text, and see where the feature fires."));
    const slow = setTimeout(() => show(found, wait("The model reads the text…")), 400);
    try {
      const body = { text, sae: feature.artifact, features: [feature.id], top_k: 1, limit: 1, on_stale: "warn" };
      const answer = await post("v1/features/inspect", body, { signal });
      if (!signal.aborted) show(found, reading(feature, answer));
    } catch (error) {
      if (error.name !== "AbortError") show(found, errorNotice(error, { retry: read }));
    } finally {
      clearTimeout(slow);
    }
  }

  input.addEventListener("input", () => {
    clearTimeout(waiting);
    waiting = setTimeout(read, PAUSE);
  });
  read();
  return [h("div", { class: "field" }, h("label", { for: "text" }, "Your text"), input), found];
}

function reading(feature, answer) {
  const own = new Set([feature.id, `sae:${feature.artifact}/${feature.latent}`]);
  const tokens = answer.tokens.filter((each) => each.content);
  const values = tokens.map((each) => each.features.find(({ id }) => own.has(id))?.activation ?? 0);
  const fired = values.filter((each) => each > 0).length;
  const most = Math.max(...values, 0);
  const outcome = fired === 0
    ? `It does not fire in these ${count(tokens.length)} tokens.`
    : `It fires on ${count(fired)} of ${count(tokens.length)} tokens, at most ${number(most)}` +
      (feature.max_activation > 0 ? `: ${percent(most / feature.max_activation)} of the largest that is known.` : ".");
  say(outcome);
  return [
    shadedText(tokens.map((each) => each.token), values, { max: Math.max(feature.max_activation, most) }),
    h("p", { class: "muted" }, outcome),
    // That the feature is stale, the page says already.
    answer.warnings.filter(({ code }) => code !== "feature_stale").map((each) => h("p", { class: "muted" }, each.message)),
  ];
}
