// An explanation as one HTML page that opens without the server: no script, no request, every text a text node.
import { factor, likely, places } from "./attribution.js";
import { h } from "./dom.js";
import { table } from "./elements.js";
import { layer, number, percent } from "./format.js";
import { shadedText } from "./shaded.js";

const POLICY = "default-src 'none'; style-src 'unsafe-inline'";
const MAPS = 10;
const STYLE = `
:root { color-scheme: light dark; --ink: light-dark(#1b1f26, #e8ebf0); --muted: light-dark(#56606f, #a3adbb); --edge: light-dark(#d7dce3, #363d49);
  --ground: light-dark(#ffffff, #14171c); font: 16px/1.55 system-ui, sans-serif; color: var(--ink); background: var(--ground); }
body { max-width: 60rem; margin: 2rem auto; padding: 0 1rem; overflow-wrap: anywhere; }
h1 { font-size: 1.6rem; } h2 { font-size: 1.2rem; margin-top: 2rem; } h3 { font-size: 1rem; margin-bottom: 0; }
.muted, caption, th { text-align: left; color: var(--muted); font-size: 0.875rem; }
table { border-collapse: collapse; width: 100%; } th, td { text-align: left; padding: 0.3rem 0.75rem 0.3rem 0; border-bottom: 1px solid var(--edge); vertical-align: top; }
th, td { overflow-wrap: break-word; } .number { text-align: right; } .scrolls { overflow-x: auto; }
.heat { white-space: pre-wrap; line-height: 1.9; border-left: 3px solid var(--edge); padding-left: 1rem; }
.token { border-radius: 3px; }
.token.aside:not(.shaded) { color: var(--muted); }
.shaded { position: relative; background: light-dark(var(--weak), var(--strong)); color: light-dark(var(--on-weak), var(--on-strong)) }
.shaded:is(:hover, :focus)::after { content: attr(data-shown); position: absolute; left: 0; bottom: 100%; white-space: nowrap; font-size: 0.8125rem; padding: 0 0.5rem; border-radius: 6px; background: var(--ink); color: var(--ground); }
.unseen { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); }
dt { color: var(--muted); } dd { margin: 0 0 0.4rem; }
summary { cursor: pointer; }
`;

// The head is text of our own: this page's policy lets no style element come into being, not even in another document.
const HEAD = `<meta charset="utf-8"><meta http-equiv="Content-Security-Policy" content="${POLICY}">
<meta name="viewport" content="width=device-width, initial-scale=1"><style>${STYLE}</style>`;

/** The page's text. `found` is what the page of that name has: body, inspection, reading, states, why, made. */
export function explanationPage(found, { model, chosen, name, by }) {
  const title = h("title", {}, `Explanation of ${found.made.toLocaleString()}`);
  const main = h("main", {}, h("h1", {}, "Which features were at work"),
    about(found, model), ranking(found, name, by), maps(found, chosen, name), whys(found, name), meaning());
  const written = (element) => new XMLSerializer().serializeToString(element);
  return `<!doctype html>\n<html lang="en"><head>${HEAD}${written(title)}</head>\n<body>${written(main)}</body></html>\n`;
}

function about({ inspection, made, warnings }, model) {
  const rows = [
    ["Made", made.toLocaleString()],
    ["Model", model ?? "not named"],
    ["SAEs", inspection.saes.map((each) => `${each.name} (${layer(each.hook)}, ${each.state}, ${each.id.slice(0, 12)})`).join(", ")],
    ["Tokens", `${inspection.content_tokens}, without what the chat template adds`],
    ...warnings.map((each) => ["Warning", each]),
  ];
  return h("dl", {}, rows.map(([term, value]) => [h("dt", {}, term), h("dd", {}, value)]));
}

const ranking = ({ inspection, states }, name, by) => [
  h("h2", {}, "Strongest features"),
  table(["Feature", "State", "Mean", "Max", "Fires on"], inspection.top.map((each) =>
    [name(each), states.get(each.id) ?? "", number(each.mean), number(each.max), percent(each.frequency)]), { caption: `By ${by}, strongest first` }),
];

function maps({ inspection, reading }, chosen, name) {
  const rest = inspection.top.filter((each) => each.id !== chosen?.id).slice(0, MAPS);
  const one = (feature, open) =>
    h("details", { open }, h("summary", {}, name(feature)), shadedText(reading.tokens, reading.of(feature.id), { content: reading.content }));
  return [h("h2", {}, "Where they fire"), chosen && one(chosen, true), rest.map((each) => one(each, false))];
}

const whys = ({ why, reading }, name) =>
  why.size > 0 && [
    h("h2", {}, "What made words likely"),
    [...why].sort(([a], [b]) => a - b).map(([at, { target, features }]) => [
      h("h3", {}, `“${reading.tokens[at].trim()}”, token ${at}: ${likely(target)}`),
      table(["Feature", "What it did", "Above all at"], features.map((each) =>
        [name(each), factor(each.effect), places(each).map(({ text, effect }) => `“${text}” (${factor(effect)})`).join(", ")])),
    ]),
  ];

const meaning = () => [
  h("h2", {}, "What the numbers mean"),
  h("p", {}, "An SAE splits the model's inner state at each token into features. How strongly one fires is its activation, in units of its own: compare a feature with itself, and features with each other with care. Mean is over all tokens of the content, max the strongest of them, and “fires on” the share of tokens at which it is active at all."),
  h("p", {}, "“2× likelier” was measured: the model read the same text with that feature switched off, and the token was then half as likely. Effects of several features need not multiply."),
  h("p", {}, "States: fresh holds on the model that was served; suspect is in doubt; stale no longer means what its name says; unchecked was not judged. A name is a short summary of where a feature fires, and can be wrong."),
];
