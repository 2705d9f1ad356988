// The map of a dictionary: every feature's place on a canvas, this one and its neighbours marked, the rest a click away.
import { get, post } from "./api.js";
import { h, link, pageUrl, show } from "./dom.js";
import { code, errorNotice, wait } from "./elements.js";
import { count, labelOf } from "./format.js";

const SIDE = 65536, MARGIN = 24, REACH = 18; // The map's own steps a side; pixels around it, and how far a pointer reaches.
const CLOSE = 25; // So many features the close-up holds at least.
const CELLS = 128; // A side of the grid in which the nearest point is sought.
const NAMED = 24, NEAREST = 8; // Cluster names tried at once, the largest first; places that are listed.

/** Where `feature` lies among the others of its SAE. Reads the map once it comes into view. `command` computes one. */
export function mapOf(feature, command) {
  const box = h("div", { class: "mapped" }, wait("Reading the map…"));
  new IntersectionObserver((seen, observer) => {
    if (!seen.some((each) => each.isIntersecting)) return;
    observer.disconnect();
    load(box, feature, command);
  }, { rootMargin: "200px" }).observe(box);
  return box;
}

async function load(box, feature, command) {
  try {
    const answer = await get(`v1/saes/${encodeURIComponent(feature.artifact)}/map`);
    if (answer.count > 0) return show(box, drawn(placesOf(answer), feature, command));
    show(box, h("p", { class: "muted" }, "Where it lies among the other features was not computed. This does:"), code(command, "command"));
  } catch (error) {
    show(box, errorNotice(error, { retry: () => load(box, feature, command) }));
  }
}

function placesOf({ sae, latents, places, clusters, newer }) {
  const found = { sae, clusters, newer, latents: new Uint32Array(bytes(latents)), places: new Uint16Array(bytes(places)) };
  found.at = new Map([...found.latents].map((latent, index) => [latent, index]));
  found.cells = cellsOf(found);
  return found;
}

const bytes = (text) => Uint8Array.from(atob(text), (each) => each.charCodeAt(0)).buffer;
const placeOf = (map, index) => [map.places[2 * index], map.places[2 * index + 1]];
const cell = (value) => Math.max(0, Math.min(CELLS - 1, Math.floor((value / SIDE) * CELLS)));

function cellsOf(map) {
  const cells = Array.from({ length: CELLS * CELLS }, () => []);
  map.latents.forEach((_, index) => {
    const [x, y] = placeOf(map, index);
    cells[cell(y) * CELLS + cell(x)].push(index);
  });
  return cells;
}

// The indices within `reach` of a place, with their distances.
function* around(map, x, y, reach) {
  for (let row = cell(y - reach); row <= cell(y + reach); row += 1) {
    for (let column = cell(x - reach); column <= cell(x + reach); column += 1) {
      for (const index of map.cells[row * CELLS + column]) {
        const [a, b] = placeOf(map, index);
        const far = Math.hypot(a - x, b - y);
        if (far <= reach) yield [index, far];
      }
    }
  }
}

// The nearest indices to a place, those that `wanted` lets through.
function nearest(map, x, y, most, wanted = () => true) {
  for (let reach = SIDE / CELLS; ; reach *= 2) {
    const found = [...around(map, x, y, reach)].filter(([index]) => wanted(index));
    if (found.length >= most || reach > 2 * SIDE) return found.sort(([, a], [, b]) => a - b).slice(0, most).map(([index]) => index);
  }
}

function drawn(map, feature, command) {
  const own = map.at.get(feature.latent);
  const canvas = h("canvas", {
    tabindex: "0", role: "application", "aria-roledescription": "map", "aria-describedby": "map-keys",
    "aria-label": `Map of ${count(map.latents.length)} features${own === undefined ? "" : `; you are at ${labelOf(feature)}`}`,
  });
  const ring = h("span", { class: "ring", hidden: true, "aria-hidden": "true" });
  const told = h("p", { class: "told", role: "status" }, "Point at a dot for its label; click it for its page.");
  const view = { x: 0, y: 0, size: SIDE };
  const state = { map, feature, own, canvas, ring, told, view, labels: new Map([[feature.latent, labelOf(feature)]]), shown: own };
  for (const [latent, label] of Object.entries(feature.others)) state.labels.set(Number(latent), label || `latent ${latent}`);
  listen(state);
  return [
    h("p", { class: "muted" }, `All ${count(map.latents.length)} features of its SAE that were seen to fire. Those that write alike lie near to each other; up, down, left and right mean nothing.`),
    (map.newer > 0 || own === undefined) && [h("p", {}, newerThan(map, own)), code(command, "command")],
    views(state),
    h("div", { class: "beside" }, h("div", { class: "map" }, canvas, ring),
      h("div", {}, told, keysOf(state), own !== undefined && listOf(state))),
    h("p", { class: "unseen", id: "map-keys" }, "The arrow keys go from feature to feature, Enter opens the one you are at."),
  ];
}

const newerThan = ({ newer }, own) =>
  `${own === undefined ? "This feature is newer than the map. " : ""}Features that have come since it was computed: ${count(newer)}. This gives all of them a place:`;

// The whole, or what is around this feature.
function views(state) {
  const { own, map, view } = state;
  if (own === undefined) return null;
  const [x, y] = placeOf(map, own), near = nearest(map, x, y, CLOSE).map((index) => placeOf(map, index));
  const size = Math.min(SIDE, Math.max(SIDE / 64, ...near.map(([a, b]) => 2.2 * Math.max(Math.abs(a - x), Math.abs(b - y)))));
  const choices = [["Whole dictionary", 0, 0, SIDE], ["Around this feature", x - size / 2, y - size / 2, size]];
  const buttons = choices.map(([name, left, top, wide], at) => h("button", { type: "button", class: "quiet", "aria-pressed": String(at === 0), on: { click: () => {
    Object.assign(view, { x: left, y: top, size: wide });
    buttons.forEach((each, other) => each.setAttribute("aria-pressed", String(other === at)));
    state.ring.hidden = true;
    draw(state);
  } } }, name));
  return h("p", { class: "buttons" }, buttons);
}

function keysOf({ feature, map }) {
  const key = (kind, text) => h("li", {}, h("span", { class: `dotkey ${kind}`, "aria-hidden": "true" }), text);
  return h("ul", { class: "keys" }, key("this", "this feature"),
    feature.neighbors.some((each) => map.at.has(each)) && key("alike", "writes most alike"),
    feature.cluster?.latents.length > 1 && key("cluster", `its cluster${feature.cluster.name ? ` “${feature.cluster.name}”` : ""}`), key("other", "all others"));
}

// Drawing.

const scaleOf = ({ canvas, view }) => (canvas.clientWidth - 2 * MARGIN) / view.size;
const onCanvas = (state, index) => {
  const [x, y] = placeOf(state.map, index), scale = scaleOf(state);
  return [MARGIN + (x - state.view.x) * scale, MARGIN + (y - state.view.y) * scale];
};

function draw(state) {
  const { canvas, map, feature, own } = state;
  const wide = canvas.clientWidth, sharp = devicePixelRatio || 1;
  if (wide === 0) return;
  canvas.width = canvas.height = wide * sharp;
  const pen = canvas.getContext("2d");
  // A variable's own text may be light-dark(…), which a canvas does not know; a computed colour is one of the two.
  const color = (name) => {
    canvas.style.color = `var(--map-${name})`;
    return getComputedStyle(canvas).color;
  };
  pen.scale(sharp, sharp);
  const close = state.view.size < SIDE;
  const radius = Math.max(0.6, Math.min(3, 60 / Math.sqrt(map.latents.length))) * (close ? 1.6 : 1);
  pen.fillStyle = color("other");
  const { places } = map, { view } = state, scale = scaleOf(state);
  for (let at = 0; at < places.length; at += 2) { // Tens of thousands: no call and no array for each.
    const x = MARGIN + (places[at] - view.x) * scale, y = MARGIN + (places[at + 1] - view.y) * scale;
    if (x >= 0 && y >= 0 && x <= wide && y <= wide) pen.fillRect(x - radius, y - radius, 2 * radius, 2 * radius);
  }
  const marked = (latents, mark) => latents.forEach((latent) => map.at.has(latent) && mark(...onCanvas(state, map.at.get(latent))));
  pen.fillStyle = color("cluster");
  marked(feature.cluster?.latents ?? [], (x, y) => pen.fillRect(x - 3, y - 3, 6, 6));
  pen.fillStyle = color("near");
  marked(feature.neighbors, (x, y) => filled(pen, [[x, y - 6], [x + 6, y], [x, y + 6], [x - 6, y]]));
  if (own !== undefined) cross(pen, ...onCanvas(state, own), color("this"), color("ground"));
  names(state, pen, color);
}

function filled(pen, corners) {
  pen.beginPath();
  corners.forEach(([x, y]) => pen.lineTo(x, y));
  pen.closePath();
  pen.fill();
}

function cross(pen, x, y, color, ground) {
  for (const [stroke, width] of [[ground, 6], [color, 3]]) {
    pen.strokeStyle = stroke;
    pen.lineWidth = width;
    pen.beginPath();
    pen.arc(x, y, 8, 0, 2 * Math.PI);
    for (const [a, b] of [[0, -1], [1, 0], [0, 1], [-1, 0]]) {
      pen.moveTo(x + 8 * a, y + 8 * b);
      pen.lineTo(x + 14 * a, y + 14 * b);
    }
    pen.stroke();
  }
}

// Names of clusters where there is room, this feature's own first.
function names(state, pen, color) {
  const { map, feature, canvas, view } = state;
  const wide = canvas.clientWidth, scale = scaleOf(state), taken = [];
  if (state.own !== undefined) {
    const [x, y] = onCanvas(state, state.own);
    taken.push([x - 16, y - 16, x + 16, y + 16]);
  }
  pen.font = `12px ${getComputedStyle(document.body).fontFamily}`;
  pen.textAlign = "center";
  pen.lineJoin = "round";
  const first = (each) => (each.name === feature.cluster?.name ? 0 : 1);
  const inside = map.clusters.map((each) => [each, MARGIN + (each.x - view.x) * scale, MARGIN + (each.y - view.y) * scale])
    .filter(([, x, y]) => x > 0 && y > 0 && x < wide && y < wide).sort(([a], [b]) => first(a) - first(b));
  for (const [each, middle, y] of inside.slice(0, NAMED)) {
    const text = each.name.length > 26 ? `${each.name.slice(0, 25)}…` : each.name;
    const half = pen.measureText(text).width / 2, x = Math.max(half + 4, Math.min(wide - half - 4, middle));
    const own = [x - half - 4, y - 10, x + half + 4, y + 8];
    if (taken.some((other) => own[0] < other[2] && other[0] < own[2] && own[1] < other[3] && other[1] < own[3])) continue;
    taken.push(own);
    pen.lineWidth = 4;
    pen.strokeStyle = color("ground");
    pen.strokeText(text, x, y + 4);
    pen.fillStyle = color("name");
    pen.fillText(text, x, y + 4);
  }
}

// Pointing, clicking, keys.

function listen(state) {
  const { canvas, map } = state;
  new ResizeObserver(() => draw(state)).observe(canvas);
  new MutationObserver(() => draw(state)).observe(document.documentElement, { attributeFilter: ["data-theme"] });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => draw(state));
  const under = (event) => {
    const scale = scaleOf(state);
    const x = state.view.x + (event.offsetX - MARGIN) / scale, y = state.view.y + (event.offsetY - MARGIN) / scale;
    return [...around(map, x, y, REACH / scale)].sort(([, a], [, b]) => a - b)[0]?.[0];
  };
  canvas.addEventListener("pointermove", (event) => {
    const index = under(event);
    canvas.classList.toggle("hit", index !== undefined);
    if (index !== undefined) point(state, index);
  });
  canvas.addEventListener("click", (event) => open(state, under(event)));
  canvas.addEventListener("focus", () => state.shown !== undefined && point(state, state.shown));
  canvas.addEventListener("keydown", (event) => {
    const way = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    if (event.key === "Enter") open(state, state.shown);
    if (!way) return;
    event.preventDefault();
    const next = state.shown === undefined ? 0 : beside(state, way);
    if (next !== undefined) point(state, next);
  });
}

// The nearest feature in a direction.
function beside({ map, shown, view }, [dx, dy]) {
  const [x, y] = placeOf(map, shown);
  const ahead = (index) => {
    const [a, b] = placeOf(map, index), forward = (a - x) * dx + (b - y) * dy, aside = Math.abs((a - x) * dy + (b - y) * dx);
    const inside = a >= view.x && b >= view.y && a <= view.x + view.size && b <= view.y + view.size;
    return inside && forward > 0 && aside <= forward;
  };
  return nearest(map, x, y, 1, ahead)[0];
}

function open(state, index) {
  if (index !== undefined) location.href = pageUrl("feature", { name: `sae:${state.map.sae}/${state.map.latents[index]}` });
}

// Rings a point and says its label, which is asked for once it stays.
async function point(state, index) {
  const { ring, told, labels, map } = state, latent = map.latents[index];
  state.shown = index;
  const [x, y] = onCanvas(state, index);
  ring.style.setProperty("--x", `${x}px`);
  ring.style.setProperty("--y", `${y}px`);
  ring.hidden = false;
  if (labels.has(latent)) return show(told, h("strong", {}, labels.get(latent)));
  show(told, `latent ${latent} …`);
  await new Promise((resolve) => setTimeout(resolve, 120));
  if (state.shown !== index) return;
  try {
    await learn(state, [latent]);
  } catch (error) {
    return show(told, `latent ${latent}: ${error.message} ${error.advice}`);
  }
  if (state.shown === index) point(state, index);
}

async function learn({ map, labels }, latents) {
  const unknown = [...latents].filter((each) => !labels.has(each));
  if (unknown.length === 0) return;
  const { data } = await post("v1/features/lookup", { features: unknown, sae: map.sae });
  for (const each of unknown) labels.set(each, `latent ${each}`);
  for (const each of data) labels.set(each.latent, labelOf(each));
}

// The same for whoever does not see the map.
function listOf(state) {
  const { map, own } = state;
  const list = h("div", {});
  const latents = nearest(map, ...placeOf(map, own), NEAREST + 1).filter((index) => index !== own).map((index) => map.latents[index]);
  const fill = async () => {
    show(list, wait("Reading their labels…"));
    try {
      await learn(state, latents);
      show(list, h("ol", { class: "near" }, latents.slice(0, NEAREST).map((latent) =>
        h("li", {}, link("feature", { name: `sae:${map.sae}/${latent}` }, state.labels.get(latent))))));
    } catch (error) {
      show(list, errorNotice(error, { retry: fill }));
    }
  };
  fill();
  return [h("h3", {}, "Nearest on the map"), list];
}
