// An answer word by word: point at a token, or focus it, and its strongest features are shown; click it to keep them.
import { h, say, show } from "./dom.js";
import { number } from "./format.js";

/** The pieces of `text` that the report has activations of: [{text, features}]. The last has none where the rest has none. */
export function tokensOf({ text, prompt, report }) {
  const byPosition = new Map();
  for (const { position, token, features, sae } of report?.activations ?? []) {
    if (position < prompt) continue;
    const own = byPosition.get(position) ?? { text: token, features: [] };
    own.features.push(...features.map((each) => ({ ...each, sae })));
    byPosition.set(position, own);
  }
  const tokens = [];
  let at = 0;
  for (const [, token] of [...byPosition].sort(([a], [b]) => a - b)) {
    const piece = text.startsWith(token.text, at) ? token.text : at === 0 ? token.text.trimStart() : null;
    if (!piece || !text.startsWith(piece, at)) break;
    tokens.push({ ...token, text: piece });
    at += piece.length;
  }
  return at < text.length ? [...tokens, { text: text.slice(at), features: [] }] : tokens;
}

/** The answer as tokens over a panel of the features of one of them. `onPick(feature)` is called by a click on one. */
export function tokenView(got, onPick) {
  const tokens = tokensOf(got);
  const panel = h("div", { class: "panel muted" }, hint());
  const line = h("p", { class: "said tokens" });
  let kept = null;
  const buttons = tokens.map((token, at) => {
    if (token.features.length === 0) return h("span", {}, token.text.trim() ? token.text.trimStart() : token.text);
    return h("button", {
      type: "button", class: "token", tabindex: at === 0 ? 0 : -1, "aria-pressed": "false", on: {
        pointerenter: () => kept === null && see(at),
        focus: () => kept === null && see(at),
        click: () => keep(at),
      },
    }, token.text.trimStart() || token.text);
  });
  const see = (at) => show(panel, featuresAt(tokens[at], onPick));
  const keep = (at) => {
    if (kept !== null) buttons[kept].setAttribute("aria-pressed", "false");
    kept = kept === at ? null : at;
    if (kept === null) return show(panel, hint());
    buttons[at].setAttribute("aria-pressed", "true");
    see(at);
    return say(`${tokens[at].text}: ${tokens[at].features.map(labelled).join(", ")}`);
  };
  line.addEventListener("keydown", (event) => step(event, buttons));
  // Buttons are boxes, whose own spaces would indent a line.
  line.append(...buttons.flatMap((each, at) => [at > 0 && tokens[at].text.trim() ? spaceBefore(tokens[at].text) : "", each]));
  return h("div", {}, line, panel);
}

const spaceBefore = (text) => text.slice(0, text.length - text.trimStart().length);
const hint = () => "Point at a word to see which features are active there; click it to keep them.";
const labelled = ({ label, id }) => label || (id.startsWith("sae:") ? `latent ${id.split("/").pop()}` : "without a label");

// One token is in the order of tabs; the left and right arrow keys go on from there.
function step(event, buttons) {
  const focusable = buttons.filter((each) => each.tagName === "BUTTON");
  const at = focusable.indexOf(event.target) + { ArrowRight: 1, ArrowLeft: -1 }[event.key];
  if (!(at >= 0 && at < focusable.length)) return;
  event.preventDefault();
  event.target.tabIndex = -1;
  focusable[at].tabIndex = 0;
  focusable[at].focus();
}

function featuresAt(token, onPick) {
  return [
    h("span", {}, `Active at “${token.text.trim() || "␣"}”:`),
    h("span", { class: "chips" }, token.features.map((each) =>
      h("button", {
        type: "button", class: "chip", title: `Add a slider for it. Activation ${number(each.activation)}`,
        on: { click: () => onPick(each) },
      }, `${labelled(each)} `, h("span", { class: "muted" }, number(each.activation))))),
  ];
}
