// An answer as it comes, and what the server reports of it.
import { stream } from "./api.js";
import { h, say, show } from "./dom.js";
import { featureLink, notice, stateBadge, wait } from "./elements.js";
import { count, number } from "./format.js";

const tokens = (value) => `${count(value)} ${value === 1 ? "token" : "tokens"}`;

/** Asks for an answer and writes it into `place` word by word. Returns {text, finish, prompt, report}; raises ApiError. */
export async function answer(body, place, { signal, waiting = "Waiting for the first word…" } = {}) {
  const text = h("p", { class: "said" });
  const got = { text: "", finish: null, prompt: null, report: null };
  show(place, wait(waiting));
  for await (const chunk of stream("v1/chat/completions", { ...body, stream: true, stream_options: { include_usage: true } }, { signal })) {
    const choice = chunk.choices?.[0];
    const piece = choice?.delta?.content ?? "";
    if (piece) {
      const seen = got.text.trim() ? piece : piece.trimStart(); // Many models begin with a space.
      if (!text.isConnected) show(place, text);
      got.text += piece;
      text.append(seen);
    }
    got.finish = choice?.finish_reason ?? got.finish;
    got.prompt = chunk.usage?.prompt_tokens ?? got.prompt;
    got.report = chunk.featurehub ?? got.report;
  }
  if (!got.text) show(place, h("p", { class: "said muted" }, "The model ended its answer before the first word."));
  return got;
}

/** The server's report of a steered answer: one line, a table behind it, and what it warns of. `readable` puts labels into messages. */
export function reportOf(report, finish, readable = (text) => text) {
  const dose = Math.max(0, ...report.saes.map((each) => each.dose));
  const clipped = report.saes.reduce((sum, each) => sum + each.clipped_tokens, 0);
  const parts = [
    `${tokens(report.steered_tokens)} steered`,
    report.applied.length > 0 && `dose ${number(dose)}`,
    clipped > 0 && `${tokens(clipped)} clipped`,
    finish === "length" && "cut at the largest length",
  ];
  return h(
    "div", { class: "report" },
    report.aborted && abortNotice(report.aborted, readable),
    report.warnings.length > 0 && notice("warning", report.warnings.map((each) => h("p", {}, readable(each.message)))),
    report.applied.length > 0
      ? h("details", {}, h("summary", {}, parts.filter(Boolean).join(" · ")), details(report))
      : h("p", { class: "muted" }, "No feature was set: this answer is not steered."),
  );
}

const abortNotice = ({ event, feature, position }, readable) =>
  notice("warning", h("p", {}, h("strong", {}, `Ended by “${readable(event)}”`), event === feature ? "" : ` (${readable(feature)})`, ` at token ${position}.`));

function details(report) {
  return [
    h("ul", { class: "applied" }, report.applied.map(applied)),
    report.saes.map((each) => h("p", { class: "muted" },
      `${each.name} at ${each.hook}: ${tokens(each.steered_tokens)} steered, dose ${number(each.dose)}, ${tokens(each.clipped_tokens)} clipped.`)),
    h("p", { class: "muted" },
      "The dose is the mean size of the change, as a share of the size of what the model holds at that layer. ",
      "Where the change would be larger than that, it is clipped: scaled down, so that the text does not break."),
  ];
}

const applied = (each) =>
  h("li", {},
    featureLink({ ...each, artifact: each.sae }), " ", stateBadge(each.state),
    h("span", { class: "muted where" }, [
      `${each.mode} ${each.mode === "ablate" ? "" : number(each.weight)}`.trim(), `raw ${number(each.coefficient)}`, tokens(each.tokens),
      each.clipped ? "clipped" : "not clipped", each.group && `of the group ${each.group}`,
    ].filter(Boolean).join(" · ")));

/** Says to people who listen to the page that an answer is there. */
export const tell = (name, got) => say(`${name}: ${got.text}`);
