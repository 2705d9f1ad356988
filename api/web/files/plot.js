// Plots, each a figure with its numbers in a table behind it. SVG, and canvas for maps of many points.
import { table } from "./elements.js";
import { h, svg } from "./dom.js";
import { number } from "./format.js";

const WIDTH = 560, HEIGHT = 220, LEFT = 52, RIGHT = 12, TOP = 12, BOTTOM = 38;
const CIVIDIS = [[0, 34, 78], [53, 69, 108], [102, 105, 112], [148, 142, 119], [200, 184, 102], [254, 232, 56]];

/** A colour of cividis for a share in [0, 1], as "rgb(r g b)". */
export const cividis = (share) => `rgb(${channels(share).join(" ")})`;

/** The same as [red, green, blue], each in 0 to 255. */
export function channels(share) {
  const at = Math.max(0, Math.min(1, share)) * (CIVIDIS.length - 1);
  const low = Math.min(Math.floor(at), CIVIDIS.length - 2);
  return CIVIDIS[low].map((each, channel) => Math.round(each + (at - low) * (CIVIDIS[low + 1][channel] - each)));
}

/** Bars over equal parts of [low, high], as the API's histograms are. */
export function histogram({ title, low, high, counts, x, y }) {
  const edges = [...counts, 0].map((_, at) => low + (at * (high - low)) / counts.length);
  const axes = scales([low, high], [0, Math.max(...counts, 1)]);
  const bars = counts.map((each, at) => {
    const left = axes.x(edges[at]), top = axes.y(each);
    const width = Math.max(1, axes.x(edges[at + 1]) - left - 1);
    return svg(
      "rect", { class: "fill1", x: left, y: top, width, height: axes.y(0) - top },
      svg("title", {}, `${number(edges[at])} to ${number(edges[at + 1])}: ${number(each)}`),
    );
  });
  const rows = counts.map((each, at) => [number(edges[at]), number(edges[at + 1]), each]);
  return figure(title, drawing(title, axes, x, y, bars), table(["From", "To", y], rows));
}

/** Lines through `points` ([x, y], by x) of up to 7 `series` ({name, points}), told apart by colour and by dashes. */
export function curves({ title, series, x, y, from = null, to = null }) {
  const points = series.flatMap((each) => each.points);
  const xs = points.map(([at]) => at), ys = points.map(([, at]) => at);
  const axes = scales([Math.min(...xs), Math.max(...xs)], [from ?? Math.min(0, ...ys), to ?? Math.max(...ys)]);
  const lines = series.map(({ name, points: own }, at) => [
    svg("polyline", { class: `line${at + 1}`, points: own.map(([a, b]) => `${axes.x(a)},${axes.y(b)}`).join(" ") }),
    own.map(([a, b]) =>
      svg(
        "circle", { class: `fill${at + 1}`, cx: axes.x(a), cy: axes.y(b), r: 3.5 },
        svg("title", {}, `${name}: ${number(b)} at ${number(a)}`),
      )),
  ]);
  const keys = h(
    "ul", { class: "keys" },
    series.map(({ name }, at) =>
      h("li", {}, svg("svg", { viewBox: "0 0 24 8", "aria-hidden": "true" },
        svg("line", { class: `line${at + 1}`, x1: 0, x2: 24, y1: 4, y2: 4 })), name)),
  );
  const rows = series.flatMap(({ name, points: own }) => own.map(([a, b]) => [name, number(a), number(b)]));
  return figure(title, drawing(title, axes, x, y, lines.flat(2)), keys, table(["Series", x, y], rows));
}

/** Shares in [0, 1] beside each other, one bar each: `rows` are {name, value, chosen}. `text` says a value. */
export function bars({ title, about = null, unit, text = number, rows }) {
  const drawn = h("div", { class: "bars" }, rows.map(({ name, value, chosen }) =>
    h("span", { class: chosen ? "measure reads" : "measure" },
      h("span", { class: "name" }, name),
      h("span", { class: "bar", vars: { share: Math.max(0, Math.min(1, value)) }, "aria-hidden": "true" }),
      h("span", { class: "value" }, text(value)))));
  return figure(title, about && h("p", { class: "muted" }, about), drawn, table(["", unit], rows.map(({ name, value }) => [name, number(value)])));
}

/** A whole and its parts: `rows` are {kind, name, value}; `kind` is a state, which colours it. */
export function parts({ title, unit, rows }) {
  const whole = rows.reduce((sum, { value }) => sum + value, 0) || 1;
  const named = ({ name, value }) => `${name}: ${number(value)} ${unit} (${((100 * value) / whole).toFixed(value === whole ? 0 : 1)}%)`;
  const drawn = h("div", { class: "parts", role: "img", "aria-label": `${title}: ${rows.map(named).join(", ")}` },
    rows.map((each) => h("span", { class: `slice ${each.kind}`, title: named(each), vars: { share: each.value / whole } })));
  const keys = h("ul", { class: "keys" }, rows.map((each) =>
    h("li", {}, svg("svg", { class: "sign", viewBox: "0 0 24 12", "aria-hidden": "true" }, mark(each.kind, 12, 6)), named(each))));
  return figure(title, drawn, keys, table(["", unit], rows.map(({ name, value }) => [name, value])));
}

/** Points by kind: `groups` are {name, kind, points: [x, y, text]}; `vertical` and `horizontal` are lines of doubt. */
export function scatter({ title, about = null, groups, x, y, vertical = null, horizontal = null }) {
  const all = groups.flatMap((each) => each.points);
  const spread = (at, line) => {
    const values = all.map((each) => each[at]).concat(line ?? []);
    return [values.reduce(least, Infinity), values.reduce(most, -Infinity)];
  };
  const axes = scales(spread(0, vertical), spread(1, horizontal));
  const lines = [
    vertical !== null && svg("line", { class: "doubt", x1: axes.x(vertical), x2: axes.x(vertical), y1: TOP, y2: HEIGHT - BOTTOM }),
    horizontal !== null && svg("line", { class: "doubt", x1: LEFT, x2: WIDTH - RIGHT, y1: axes.y(horizontal), y2: axes.y(horizontal) }),
  ];
  const marks = [...groups].reverse().map(({ name, kind, points }) =>
    points.map(([a, b, text]) => mark(kind, axes.x(a), axes.y(b), svg("title", {}, `${text} (${name}): ${number(a)}, ${number(b)}`))));
  const keys = h("ul", { class: "keys" }, groups.map(({ name, kind, points }) =>
    h("li", {}, svg("svg", { class: "sign", viewBox: "0 0 24 12", "aria-hidden": "true" }, mark(kind, 12, 6)), `${name}: ${points.length}`)));
  const rows = groups.flatMap(({ name, points }) => points.map(([a, b, text]) => [text, name, number(a), number(b)]));
  return figure(title, about && h("p", { class: "muted" }, about), drawing(title, axes, x, y, [lines, marks]), keys, table(["", "Kind", x, y], rows.slice(0, 500), { caption: rows.length > 500 ? `The first 500 of ${rows.length}` : null }));
}

const SHAPES = {
  fresh: (a, b) => svg("circle", { cx: a, cy: b, r: 3 }),
  suspect: (a, b) => svg("path", { d: `M${a - 4} ${b}L${a} ${b - 4}L${a + 4} ${b}L${a} ${b + 4}Z` }),
  stale: (a, b) => svg("path", { d: `M${a - 4} ${b + 3.5}L${a} ${b - 4.5}L${a + 4} ${b + 3.5}Z` }),
  unchecked: (a, b) => svg("rect", { x: a - 3, y: b - 3, width: 6, height: 6 }),
};

const mark = (kind, a, b, ...children) => svg("g", { class: `mark ${kind}` }, (SHAPES[kind] ?? SHAPES.fresh)(a, b), ...children);

/** A map of points ([x, y] each) on a canvas: `values` in [0, 1] colour them, `chosen` are ringed. `onPick(index)` is
 * told of the point nearest to a click. `labelOf(index)` names the chosen ones for people who do not see it. */
export function pointMap({ title, points, values = null, chosen = [], onPick = null, labelOf = String, size = 480 }) {
  const xs = points.map(([at]) => at), ys = points.map(([, at]) => at);
  const low = [xs.reduce(least, Infinity), ys.reduce(least, Infinity)];
  const range = [xs.reduce(most, -Infinity) - low[0] || 1, ys.reduce(most, -Infinity) - low[1] || 1];
  const place = ([a, b]) => [12 + ((a - low[0]) / range[0]) * (size - 24), 12 + ((b - low[1]) / range[1]) * (size - 24)];
  const placed = points.map(place);
  const canvas = h("canvas", { class: "map", role: "img", "aria-label": title });
  const sharp = globalThis.devicePixelRatio || 1;
  canvas.width = canvas.height = size * sharp;
  const pen = canvas.getContext("2d");
  pen.scale(sharp, sharp);
  const radius = points.length > 20000 ? 0.8 : points.length > 2000 ? 1.4 : 2.5;
  placed.forEach(([a, b], at) => {
    pen.fillStyle = values === null ? "#8a94a3" : cividis(values[at]);
    pen.fillRect(a - radius, b - radius, 2 * radius, 2 * radius);
  });
  pen.lineWidth = 2.5;
  pen.strokeStyle = "#d55e00";
  for (const at of chosen) {
    pen.beginPath();
    pen.arc(placed[at][0], placed[at][1], 7, 0, 2 * Math.PI);
    pen.stroke();
  }
  if (onPick !== null) canvas.addEventListener("click", (event) => onPick(nearest(placed, event, canvas, size)));
  return figure(title, canvas, table(["Point", "x", "y"], chosen.map((at) => [labelOf(at), ...points[at].map(number)])));
}

const least = (a, b) => Math.min(a, b);
const most = (a, b) => Math.max(a, b);

function nearest(placed, event, canvas, size) {
  const scale = size / canvas.clientWidth;
  const far = ([a, b]) => (a - event.offsetX * scale) ** 2 + (b - event.offsetY * scale) ** 2;
  return placed.reduce((best, each, at) => (far(each) < far(placed[best]) ? at : best), 0);
}

function scales([left, right], [bottom, top]) {
  const wide = right - left || 1, high = top - bottom || 1;
  return {
    x: (value) => LEFT + ((value - left) / wide) * (WIDTH - LEFT - RIGHT),
    y: (value) => TOP + (1 - (value - bottom) / high) * (HEIGHT - TOP - BOTTOM),
    across: ticks(left, left + wide),
    up: ticks(bottom, bottom + high),
  };
}

function ticks(low, high) {
  const rough = (high - low) / 4;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((each) => each * power).find((each) => each >= rough);
  const found = [];
  for (let at = Math.ceil(low / step); at * step <= high + 1e-9 * step; at += 1) found.push(at * step + 0); // Without it, −0.
  return found;
}

function drawing(title, axes, x, y, marks) {
  const text = (value, a, b, anchor) => svg("text", { x: a, y: b, "text-anchor": anchor }, number(value));
  return svg(
    "svg",
    { class: "plot", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": `${title}: ${y} over ${x}` },
    axes.up.map((each) => [
      svg("line", { class: "grid", x1: LEFT, x2: WIDTH - RIGHT, y1: axes.y(each), y2: axes.y(each) }),
      text(each, LEFT - 6, axes.y(each) + 4, "end"),
    ]),
    axes.across.map((each) => text(each, axes.x(each), HEIGHT - BOTTOM + 16, "middle")),
    svg("text", { class: "axis", x: (LEFT + WIDTH - RIGHT) / 2, y: HEIGHT - 4, "text-anchor": "middle" }, x),
    marks,
  );
}

const figure = (title, drawn, ...rest) => {
  const numbers = rest.pop();
  return h(
    "figure", {}, h("figcaption", {}, title), drawn, ...rest,
    h("details", {}, h("summary", {}, "The numbers"), numbers),
  );
};
