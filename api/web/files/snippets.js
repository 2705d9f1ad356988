// The same request as a program: openai's Python client, featurehub's, and curl.

const OURS = ["features", "steer", "abort_when", "return_activations"];

/** What Python writes for a JSON value. */
export function python(value, indent = "") {
  if (value === null) return "None";
  if (typeof value === "boolean") return value ? "True" : "False";
  // JSON's strings are Python's too, surrogate pairs aside, which stay the characters that they are.
  if (typeof value !== "object") return JSON.stringify(value);
  const deeper = `${indent}    `;
  const items = Array.isArray(value)
    ? value.map((each) => python(each, deeper))
    : Object.entries(value).map(([name, each]) => `${JSON.stringify(name)}: ${python(each, deeper)}`);
  const [open, close] = Array.isArray(value) ? "[]" : "{}";
  const line = open + items.join(", ") + close;
  if (line.length + indent.length <= 100 && !line.includes("\n")) return line;
  return `${open}\n${items.map((each) => `${deeper}${each},\n`).join("")}${indent}${close}`;
}

const call = (name, given) =>
  `${name}(\n${given.map(([key, value]) => `    ${key}=${typeof value === "string" ? value : python(value, "    ")},\n`).join("")})`;

/** With openai's client: our keys travel in `extra_body`. `server` is its address without /v1. */
export function openaiCode(body, { server, key }) {
  const own = Object.fromEntries(OURS.filter((name) => name in body).map((name) => [name, body[name]]));
  const rest = Object.entries(body).filter(([name]) => !OURS.includes(name)).map(asText);
  const given = Object.keys(own).length ? [...rest, ["extra_body", own]] : rest;
  return [
    "from openai import OpenAI", "",
    `client = OpenAI(base_url=${python(`${server}/v1`)}, api_key=${python(key)})`,
    `answer = ${call("client.chat.completions.create", given)}`,
    "print(answer.choices[0].message.content)", "print(answer.model_extra.get(\"featurehub\"))",
  ].join("\n");
}

/** With featurehub's client: the edits are a variant's. `nameOf(name)` is what a comment calls a feature. */
export function sdkCode(body, { server, key, nameOf }) {
  const { model, features = {}, abort_when: aborts = [], ...rest } = body;
  const sets = Object.entries(features).map(([name, edit]) => `variant.set(${setting(name, edit)})  # ${oneLine(nameOf(name))}`);
  const ends = aborts.map(({ when, event }) => `variant.abort_when(${python(when)}${event ? `, ${python(event)}` : ""})`);
  const given = [["model", "variant"], ...Object.entries(rest).map(asText)];
  return [
    "from featurehub import Client, Variant", "",
    `client = Client(base_url=${python(server)}, api_key=${python(key)})`,
    `variant = Variant(${python(model)})`, ...sets, ...ends,
    `answer = ${call("client.chat.completions.create", given)}`,
    "print(answer.choices[0].message.content)", "print(answer.model_extra.get(\"featurehub\"))",
  ].join("\n");
}

function setting(name, edit) {
  if (typeof edit === "number") return `${python(name)}, ${python(edit)}`;
  const { weight, mode, when } = edit;
  const more = [weight !== undefined && python(weight), mode && `mode=${python(mode)}`, when && `when=${python(when)}`];
  return [python(name), ...more.filter(Boolean)].join(", ");
}

const asText = ([name, value]) => [name, python(value, "    ")];

// A label may hold whatever somebody wrote, and what follows a line's end is code.
const oneLine = (text) => text.replace(/[\p{Cc}\p{Zl}\p{Zp}]+/gu, " ");

/** With curl. */
export function curlCode(body, { server, key }) {
  const text = JSON.stringify(body, null, 2).replaceAll("'", "'\\''");
  const authorization = key === "none" ? "" : ` -H 'authorization: Bearer ${key}'`;
  return `curl ${quoted(`${server}/v1/chat/completions`)} -H 'content-type: application/json'${authorization} -d '${text}'`;
}

const quoted = (text) => `'${text.replaceAll("'", "'\\''")}'`;
