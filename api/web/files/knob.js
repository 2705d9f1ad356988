// The slider of one edit, and the conditions that it may wait for. Each changes the edit that it was given, and says so.
import { h, show } from "./dom.js";
import { featureLink, stateBadge } from "./elements.js";
import { labelOf } from "./format.js";
import { picker } from "./picker.js";

const MODES = {
  nudge: "adds it (nudge)", pin: "holds it at a share of its largest activation (pin)",
  mul: "multiplies it by 1 + weight (mul)", ablate: "takes it away (ablate)",
};

/** A slider from -1 to 1 with its number, under the name of what it turns. `label` names it, `id` is unique in the page. */
export function slider(edit, { id, label, onChange }) {
  const range = h("input", { type: "range", id, min: -1, max: 1, step: 0.05, value: edit.weight, "aria-label": `Weight of ${label}` });
  const exact = h("input", { type: "number", min: -1, max: 1, step: 0.05, value: edit.weight, "aria-label": `Exact weight of ${label}` });
  const turn = (from, to) => {
    const value = Number(from.value);
    if (from.value === "" || !(value >= -1 && value <= 1)) return;
    edit.weight = value;
    to.value = String(value);
    onChange();
  };
  range.addEventListener("input", () => turn(range, exact));
  exact.addEventListener("input", () => turn(exact, range));
  return h("div", { class: "slider" }, h("span", { class: "muted", "aria-hidden": "true" }, "less"), range, h("span", { class: "muted", "aria-hidden": "true" }, "more"), exact);
}

/** A list item for an edit: name, slider, a switch, a button that removes it, and what else it can do behind "More". */
export function knob(edit, { id, feature, known, onChange, onRemove }) {
  const label = feature ? labelOf(feature) : edit.name;
  const turn = slider(edit, { id: `${id}-weight`, label, onChange });
  const on = h("input", { type: "checkbox", "aria-label": `Steer with ${label}` });
  on.checked = edit.on;
  const item = h("li", { class: `knob${edit.on ? "" : " off"}` });
  on.addEventListener("change", () => {
    edit.on = on.checked;
    item.classList.toggle("off", !edit.on);
    onChange();
  });
  const stateless = () => turn.querySelectorAll("input").forEach((each) => (each.disabled = edit.mode === "ablate"));
  const mode = h("select", { id: `${id}-mode` }, Object.entries(MODES).map(([name, text]) => h("option", { value: name, selected: edit.mode === name }, text)));
  mode.addEventListener("change", () => {
    edit.mode = mode.value;
    stateless();
    onChange();
  });
  stateless();
  item.append(
    h("div", { class: "head" },
      on, feature?.artifact ? featureLink(feature, { class: "label" }) : h("span", { class: "label" }, label),
      feature?.state && stateBadge(feature.state),
      h("button", { type: "button", class: "quiet", "aria-label": `Remove ${label}`, on: { click: onRemove } }, "✕")),
    turn,
    h("details", { open: edit.when !== null || edit.mode !== "nudge" },
      h("summary", {}, "When and how"),
      h("div", { class: "field" }, h("label", { for: `${id}-mode` }, "What it does"), mode),
      conditions(edit, { id, known, onChange, label: "Only where a feature is active", text: "Steers only at words where…" })),
  );
  return item;
}

/** The conditions in `holder.when`: of each a feature, a comparison and a value. `known` has the features by name. */
export function conditions(holder, { id, known, onChange, label, text }) {
  const place = h("div", { class: "conditions" });
  const changed = () => {
    if (holder.when?.list.length === 0) holder.when = null;
    draw();
    onChange();
  };
  const add = (found) => {
    known.set(found.id, found);
    holder.when ??= { kind: "all", list: [] };
    holder.when.list.push({ feature: found.id, op: ">", value: 0.2, so_far: false });
    changed();
  };
  const remove = (at) => {
    holder.when.list.splice(at, 1);
    changed();
  };
  function draw() {
    const list = holder.when?.list ?? [];
    show(
      place,
      list.length > 0 && h("p", { class: "muted" }, text),
      list.length > 1 && kindOf(holder.when, onChange),
      list.map((each, at) => condition(each, { id: `${id}-when${at}`, known, onChange, onRemove: () => remove(at) })),
      picker({ label: list.length ? "And where another feature is active" : label, onPick: add }),
    );
  }
  draw();
  return place;
}

function kindOf(when, onChange) {
  const select = h("select", { "aria-label": "Which of the conditions must hold" },
    h("option", { value: "all", selected: when.kind === "all" }, "all of these hold"), h("option", { value: "any", selected: when.kind === "any" }, "any of these holds"));
  select.addEventListener("change", () => {
    when.kind = select.value;
    onChange();
  });
  return select;
}

function condition(each, { id, known, onChange, onRemove }) {
  const feature = known.get(each.feature);
  const label = feature ? labelOf(feature) : each.feature;
  const op = h("select", { "aria-label": `How ${label} is compared` },
    h("option", { value: ">", selected: each.op !== "<" }, "is above"), h("option", { value: "<", selected: each.op === "<" }, "is below"));
  const value = h("input", { type: "number", min: 0, max: 1, step: 0.05, value: each.value, "aria-label": `Share of the largest activation of ${label}` });
  const soFar = h("input", { type: "checkbox", id: `${id}-sofar` });
  soFar.checked = Boolean(each.so_far);
  op.addEventListener("change", () => {
    each.op = op.value;
    onChange();
  });
  soFar.addEventListener("change", () => {
    each.so_far = soFar.checked;
    onChange();
  });
  value.addEventListener("input", () => {
    const share = Number(value.value);
    if (value.value === "" || !(share >= 0 && share <= 1)) return;
    each.value = share;
    onChange();
  });
  return h("div", { class: "condition" },
    h("strong", {}, label), op, value, h("span", { class: "muted" }, "of its largest"),
    h("label", { class: "check", for: `${id}-sofar` }, soFar, "and at every word after that"),
    h("button", { type: "button", class: "quiet", "aria-label": `Remove the condition on ${label}`, on: { click: onRemove } }, "✕"));
}
