// Elements without HTML: text becomes text nodes alone, so that nothing in a label or a chat is ever markup.

/** An element. `given`: attributes by name; `on` holds listeners, `vars` numbers for the style sheet, `data` data-*.
 * What is null, undefined or false is left out, among attributes and among children. */
export function h(name, given = {}, ...children) {
  return fill(document.createElement(name), given, ...children);
}

/** The same of SVG. */
export function svg(name, given = {}, ...children) {
  return fill(document.createElementNS("http://www.w3.org/2000/svg", name), given, ...children);
}

function fill(element, { on = {}, vars = {}, data = {}, ...attributes }, ...children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name === "style" || name.startsWith("on")) throw new Error(`${name}: use vars or on`);
    element.setAttribute(name, value === true ? "" : value);
  }
  for (const [name, listener] of Object.entries(on)) element.addEventListener(name, listener);
  for (const [name, value] of Object.entries(vars)) element.style.setProperty(`--${name}`, value);
  Object.assign(element.dataset, data);
  element.append(...present(children));
  return element;
}

/** Puts other children into an element. */
export function show(element, ...children) {
  element.replaceChildren(...present(children));
  return element;
}

const present = (children) =>
  children.flat(Infinity).filter((each) => each !== null && each !== undefined && each !== false);

export const byId = (id) => document.getElementById(id);

/** Says something to people who listen to the page; what is seen says it already. */
export function say(text) {
  byId("said").textContent = text;
}

/** The address of a page with a query. Pages: search, feature, playground … */
export function pageUrl(page, query = {}) {
  const search = queryText(query);
  return page + (search && `?${search}`);
}

/** A link to a page. */
export const link = (page, query, text, given = {}) => h("a", { href: pageUrl(page, query), ...given }, text);

/** A query's text. Lists repeat their name; what is null, "" or false is left out. */
export function queryText(query) {
  const parts = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) {
    for (const each of Array.isArray(value) ? value : [value]) {
      if (each !== null && each !== undefined && each !== "" && each !== false) parts.append(name, each);
    }
  }
  return parts.toString();
}
