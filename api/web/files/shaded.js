// Text with how active a feature is at each token as its colour: cividis, from weak to strong, with the values to read.
import { h } from "./dom.js";
import { number, percent } from "./format.js";
import { channels, cividis } from "./plot.js";

/** A stretch of text. `values` >= 0, one per token; `max` is the strongest colour. Tokens that are on show their value
 * when pointed at or focused (the arrow keys walk through them), and screen readers hear it after the token. */
export function shadedText(tokens, values, { max = Math.max(...values, 0) } = {}) {
  const text = h("p", { class: "heat" }, tokens.map((token, at) => shadedToken(token, values[at], max)));
  const on = [...text.querySelectorAll(".on")];
  if (on.length) strongest(on).tabIndex = 0;
  text.addEventListener("keydown", (event) => walk(event, on));
  return text;
}

function shadedToken(token, value, max) {
  const text = token.replaceAll("\n", "⏎\n");
  if (!(value > 0 && max > 0)) return h("span", { class: "token" }, text);
  const share = Math.min(1, value / max);
  const vars = { weak: cividis(1 - share), "on-weak": ink(1 - share), strong: cividis(share), "on-strong": ink(share) };
  const said = h("span", { class: "unseen" }, ` (${number(value)}) `);
  const shown = `${number(value)} · ${percent(share)} of its largest`;
  return h("span", { class: "token on shaded", vars, data: { shown, share } }, text || "∅", said);
}

const strongest = (on) => on.reduce((best, each) => (Number(each.dataset.share) > Number(best.dataset.share) ? each : best));

function walk(event, on) {
  const at = on.indexOf(event.target);
  const to = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: on.length - 1 }[event.key];
  if (at < 0 || on[to] === undefined) return;
  event.preventDefault();
  on[at].tabIndex = -1;
  on[to].tabIndex = 0;
  on[to].focus();
}

// Black or white, whichever has the better contrast: at least 4.5 on any colour.
function ink(share) {
  const [red, green, blue] = channels(share).map((each) => {
    const part = each / 255;
    return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue > 0.179 ? "#000000" : "#ffffff";
}

/** What the colours mean. `max`: the activation of the strongest colour. */
export const shadeLegend = (max) =>
  h("p", { class: "legend muted" }, "0", h("span", { class: "ramp", "aria-hidden": "true" }), number(max),
    h("span", {}, "how active it is at a token; no colour: not at all"));
