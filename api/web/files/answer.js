// An answer as it comes, and what the server reports of it.
import { stream } from "./api.js";
import { h, say, show } from "./dom.js";
import { featureLink, notice, stateBadge, table, wait } from "./elements.js";
import { number, percent } from "./format.js";

/** Asks for an answer and writes it into `place` word by word. Returns {text, finish, prompt, report}; raises ApiError. */
export async function answer(body, place, { signal, waiting = "Waiting for the first word…" } = {}) {
  const text = h("p", { class: "said" });
  const got = { text: "", finish: null, prompt: null, report: null };
  show(place, wait(waiting));
  for await (const chunk of stream("v1/chat/completions", { ...body, stream: true, stream_options: { include_usage: true } }, { signal })) {
    const choice = chunk.choices?.[0];
    const piece = choice?.delta?.content ?? "";
    if (piece) {
      if (!got.text) show(place, text);
      got.text += piece;
      text.append(piece);
    }
    got.finish = choice?.finish_reason ?? got.finish;
    got.prompt = chunk.usage?.prompt_tokens ?? got.prompt;
    got.report = chunk.featurehub ?? got.report;
  }
  if (!got.text) show(place, h("p", { class: "said muted" }, "The model ended its answer before the first word."));
  return got;
}

/** The server's report of a steered answer: one line, a table behind it, and what it warns of. */
export function reportOf(report, finish) {
  const dose = Math.max(0, ...report.saes.map((each) => each.dose));
  const clipped = report.saes.reduce((sum, each) => sum + each.clipped_tokens, 0);
  const parts = [
    `${number(report.steered_tokens)} tokens steered`,
    report.applied.length > 0 && `dose ${number(dose)}`,
    clipped > 0 && `${number(clipped)} tokens clipped`,
    finish === "length" && "cut at the largest length",
  ];
  return h(
    "div", { class: "report" },
    report.aborted && abortNotice(report.aborted),
    report.warnings.length > 0 && notice("warning", report.warnings.map((each) => h("p", {}, each.message))),
    report.applied.length > 0
      ? h("details", {}, h("summary", {}, parts.filter(Boolean).join(" · ")), details(report))
      : h("p", { class: "muted" }, "No feature was set: this answer is not steered."),
  );
}

const abortNotice = ({ event, feature, position }) =>
  notice("warning", h("p", {}, h("strong", {}, `Ended by “${event}”`), event === feature ? "" : ` (${feature})`, ` at token ${position}.`));

function details(report) {
  const rows = report.applied.map((each) => [
    featureLink({ ...each, artifact: each.sae }), each.mode, each.weight, Number(each.coefficient.toPrecision(3)),
    each.tokens, each.clipped ? "yes" : "no", stateBadge(each.state),
  ]);
  return [
    table(["Feature", "Mode", "Weight", "Raw", "Tokens", "Clipped", "State"], rows, { caption: "What was applied" }),
    h("p", { class: "muted" },
      "Dose is the mean size of the change, as a share of the size of what the model holds at that layer. ",
      "Clipped: at some token the change was larger than the model's own stream, so it was scaled down. ",
      "Raw is the number that the layer used for the weight."),
    report.saes.map((each) =>
      h("p", { class: "muted" }, `${each.name} at ${each.hook}: ${each.steered_tokens} tokens, dose ${percent(each.dose)}, ${each.clipped_tokens} clipped.`)),
  ];
}

/** Says to people who listen to the page that an answer is there. */
export const tell = (name, got) => say(`${name}: ${got.text}`);
