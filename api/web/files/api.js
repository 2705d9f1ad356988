// The HTTP API: every error says what to do, keys are asked for once, streams are read event by event.
import { byId, queryText } from "./dom.js";

const KEY = "featurehub.key";
const OPERATOR = "featurehub.operator";
const REFUSED = "operators_refused"; // The server has no key for operators: asking for one would lead nowhere.

const ADVICE = {
  0: "Is the server running, and does this machine reach it? Then try again.",
  401: "Give the key that the server was started with (--api-key).",
  403: "This is for operators: give the server's FEATUREHUB_OPERATOR_KEY.",
  404: "Search for it: it may have another name here, or not be served.",
  429: "Wait a moment, then try again.",
  500: "The server's log says more.",
  503: "Try again in a few seconds.",
};

/** What the server refused, or could not do. `status` is 0 where it was not reached; `advice` says what to do. */
export class ApiError extends Error {
  constructor(status, details = {}) {
    super(details.message ?? `The server answered with status ${status}.`);
    this.name = "ApiError";
    this.status = status;
    this.code = details.code ?? null;
    this.param = details.param ?? null;
    this.suggestions = details.suggestions ?? [];
    this.candidates = details.candidates ?? [];
    this.closest = details.closest ?? null;
    this.report = details.report ?? null;
    this.advice = this.code === REFUSED ? "Nothing was changed. The address of this page keeps what is set, so that you can go on." : ADVICE[status] ?? (status > 500 ? ADVICE[503] : "");
  }
}

/** The JSON that GET answers with. `query` as in `queryText`. */
export function get(path, query = {}, options = {}) {
  const text = queryText(query);
  return ask("GET", path + (text && `?${text}`), undefined, options);
}

/** The JSON that POST answers with. `options`: `signal` aborts; `operator` sends the operators' key too. */
export const post = (path, body, options = {}) => ask("POST", path, body, options);
export const put = (path, body, options = {}) => ask("PUT", path, body, options);
export const remove = (path, options = {}) => ask("DELETE", path, undefined, options);

async function ask(method, path, body, options) {
  const response = await send(method, path, body, options);
  return response.status === 204 ? null : response.json();
}

/** The objects of a stream of server-sent events, as they come. Raises ApiError, also where an event holds an error. */
export async function* stream(path, body, options = {}) {
  const response = await send("POST", path, body, options);
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let waiting = "";
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      const events = (waiting + value).replaceAll("\r\n", "\n").split("\n\n");
      waiting = events.pop();
      for (const event of events) {
        const data = dataOf(event);
        if (data === "[DONE]") return;
        if (data) yield checked(JSON.parse(data));
      }
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}

const dataOf = (event) =>
  event
    .split("\n")
    .filter((line) => line.startsWith("data:"))
    .map((line) => line.slice(5).trimStart())
    .join("\n");

function checked(chunk) {
  if (chunk.error) throw new ApiError(Number(chunk.error.code) || 500, chunk.error);
  return chunk;
}

async function send(method, path, body, { signal, operator = false } = {}) {
  for (;;) {
    const response = await reach(method, path, body, signal, operator);
    if (response.ok) return response;
    const error = await errorOf(response);
    const kept = response.status === 401 ? KEY : response.status === 403 && operator && error.code !== REFUSED ? OPERATOR : null;
    if (kept === null || !(await askKey(kept, error))) throw error;
  }
}

async function reach(method, path, body, signal, operator) {
  const headers = {};
  const key = sessionStorage.getItem(KEY);
  if (key) headers.authorization = `Bearer ${key}`;
  if (operator) headers["x-featurehub-key"] = sessionStorage.getItem(OPERATOR) ?? "";
  if (body !== undefined) headers["content-type"] = "application/json";
  const text = body === undefined ? undefined : JSON.stringify(body);
  try {
    return await fetch(path, { method, headers, body: text, signal });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError(0, { message: "The server cannot be reached." });
  }
}

async function errorOf(response) {
  const body = await response.json().catch(() => ({}));
  const details = typeof body.error === "object" ? body.error : { message: body.error ?? body.detail };
  return new ApiError(response.status, typeof details.message === "string" ? details : {});
}

const asking = {};

// One dialog, however many requests need the key at once.
function askKey(kept, error) {
  asking[kept] ??= shown(kept, error).finally(() => delete asking[kept]);
  return asking[kept];
}

function shown(kept, error) {
  const dialog = byId("ask");
  byId("ask-title").textContent = kept === KEY ? "This server asks for a key" : "This is for operators";
  byId("ask-why").textContent = `${error.message} ${error.advice}`;
  byId("ask-key").value = "";
  dialog.returnValue = "";
  dialog.showModal();
  return new Promise((resolve) => {
    const closed = () => {
      const given = dialog.returnValue === "send";
      if (given) sessionStorage.setItem(kept, byId("ask-key").value);
      resolve(given);
    };
    dialog.addEventListener("close", closed, { once: true });
  });
}
