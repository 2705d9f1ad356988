// Text with how active a feature is at each token as its colour: cividis, from weak to strong, with the values to read.
import { h } from "./dom.js";
import { roving } from "./elements.js";
import { number, percent } from "./format.js";
import { channels, cividis } from "./plot.js";

/** A stretch of text. `values` >= 0, one per token; `max` is the strongest colour. Tokens that are on show their value when
 * pointed at or focused (the arrow keys walk through them), and screen readers hear it after the token. With
 * `onPick(index)` every token is a button; those without `content[index]`, nobody's words, are muted. */
export function shadedText(tokens, values, { max = null, content = null, onPick = null } = {}) {
  const whole = max === null ? "its largest here" : "its largest";
  const most = max ?? Math.max(...values, 0);
  const shown = tokens.map((token, at) => shadedToken(token, values[at], most, whole, onPick && (() => onPick(at))));
  shown.forEach((each, at) => each.classList.toggle("aside", content !== null && !content[at]));
  const breaks = tokens.map((token) => "\n".repeat(token.split("\n").length - 1)); // Outside: a button's own end no line.
  const text = h("p", { class: "heat" }, shown.flatMap((each, at) => [each, breaks[at]]));
  const on = shown.filter((each) => each.classList.contains("on"));
  const stops = onPick ? shown : on;
  for (const each of stops) each.tabIndex = -1;
  const first = on.length ? strongest(on) : stops[0];
  if (first) first.tabIndex = 0;
  roving(text, stops, { ends: true });
  return text;
}

function shadedToken(token, value, max, whole, pick) {
  const text = token.replaceAll("\n", "⏎") || "∅";
  const made = (given, ...children) => pick ? h("button", { ...given, type: "button", on: { click: pick } }, children) : h("span", given, children);
  if (!(value > 0 && max > 0)) return made({ class: "token" }, text);
  const share = Math.min(1, value / max);
  const vars = { weak: cividis(1 - share), "on-weak": ink(1 - share), strong: cividis(share), "on-strong": ink(share) };
  const said = h("span", { class: "unseen" }, ` (${number(value)}) `);
  const shown = `${number(value)} · ${percent(share)} of ${whole}`;
  return made({ class: "token on shaded", vars, data: { shown, share } }, text, said);
}

const strongest = (on) => on.reduce((best, each) => (Number(each.dataset.share) > Number(best.dataset.share) ? each : best));

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
