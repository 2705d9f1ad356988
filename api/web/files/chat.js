// A chat of which each side, "plain" and "steered", goes on with its own answers.
import { answer, reportOf, tell } from "./answer.js";
import { h, show } from "./dom.js";
import { errorNotice } from "./elements.js";
import { tokenView } from "./tokens.js";

const NAMES = { plain: "As it is", steered: "Steered" };

/** The turns in `list`. `bodyOf(messages, steered)` makes a request; `readable` puts labels
 * into messages; `onPick` gets a token's feature, `onName` the wrong
 * name and a suggested one, `onStale` is called to steer all the same, `onBusy` is told whether answers are on their way. */
export class Chat {
  constructor(list, { bodyOf, readable, onPick, onName, onStale, onBusy }) {
    Object.assign(this, { list, bodyOf, readable, onPick, onName, onStale, onBusy, turns: [], coming: [] });
  }

  /** What was asked, in order, and what a replay has yet to ask. */
  get asks() {
    return [...this.turns.map((each) => each.text), ...this.coming];
  }

  /** Asks, and writes both answers. */
  ask(text) {
    const turn = { text, plain: this.side("plain"), steered: this.side("steered") };
    this.turns.push(turn);
    this.list.append(h("li", {}, h("p", { class: "asked" }, h("span", { class: "unseen" }, "You: "), text),
      h("div", { class: "pair" }, turn.plain.card, turn.steered.card)));
    return Promise.all([this.run(turn, "plain"), this.run(turn, "steered")]);
  }

  /** Asks these one after the other. */
  async replay(texts) {
    this.coming = [...texts];
    while (this.coming.length) await this.ask(this.coming.shift());
  }

  /** Writes the last turn's steered answer anew, or both. */
  again({ both = false } = {}) {
    const turn = this.turns.at(-1);
    if (!turn) return;
    if (both) this.run(turn, "plain");
    this.run(turn, "steered");
  }

  /** Ends what is on its way. */
  stop() {
    this.coming = [];
    for (const turn of this.turns) for (const name of Object.keys(NAMES)) turn[name].running.abort();
  }

  /** Begins anew. */
  clear() {
    this.stop();
    this.turns = [];
    show(this.list);
    this.onBusy(false);
  }

  /** The messages of one side up to a turn's question; a turn without an answer there is left out. */
  messages(name, until = this.turns.at(-1)) {
    const messages = [];
    for (const turn of this.turns) {
      if (turn === until) return [...messages, { role: "user", content: turn.text }];
      const { text } = turn[name].got ?? {};
      if (text) messages.push({ role: "user", content: turn.text }, { role: "assistant", content: text });
    }
    return messages;
  }

  side(name) {
    const place = h("div", {}), report = h("div", {});
    const card = h("article", { class: `card ${name}`, "aria-label": NAMES[name] }, h("h3", {}, NAMES[name]), place, report);
    return { card, place, report, got: null, running: new AbortController(), busy: false };
  }

  async run(turn, name) {
    const side = turn[name];
    side.running.abort();
    const { signal } = (side.running = new AbortController());
    Object.assign(side, { got: null, busy: true });
    show(side.report);
    this.onBusy(true);
    try {
      const got = await answer(this.bodyOf(this.messages(name, turn), name === "steered"), side.place, { signal });
      side.got = got;
      this.finished(side, name);
    } catch (error) {
      if (side.running.signal === signal) this.ended(turn, name, error);
    } finally {
      if (side.running.signal === signal) side.busy = false;
      this.onBusy(this.turns.some((each) => each.plain.busy || each.steered.busy));
    }
  }

  finished({ got, place, report }, name) {
    if (got.text && got.report?.activations) show(place, tokenView(got, this.onPick));
    if (name === "steered") show(report, got.report ? reportOf(got.report, got.finish, this.readable) : h("p", { class: "muted" }, "No feature is on: this answer is not steered."));
    tell(NAMES[name], got);
  }

  ended(turn, name, error) {
    const { place } = turn[name];
    const retry = () => this.run(turn, name);
    if (error.name === "AbortError") return place.append(h("p", { class: "muted" }, "Stopped. ", h("button", { type: "button", class: "quiet", on: { click: retry } }, "Write it again")));
    const wrong = /^(features)\.(.+)$/.exec(error.param ?? "")?.[2] ?? null;
    error.message = this.readable(error.message);
    show(place, errorNotice(error, { retry, onName: wrong && ((text) => this.onName(wrong, text)) }));
    if (error.code === "stale_feature") place.append(h("button", { type: "button", on: { click: this.onStale } }, "Steer all the same, with a warning"));
    return null;
  }
}
