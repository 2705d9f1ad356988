// Which model answers here, and what its SAEs are called.
import { get } from "./api.js";

/** The name of the served model, or null where the server hosts the registry alone. Raises ApiError. */
export async function servedModel() {
  const { engine } = await get("healthz");
  return engine === "absent" ? null : baseModel();
}

/** The name of the model that vLLM's list has, adapters and variants aside; null of an empty list. Raises ApiError. */
export async function baseModel() {
  const { data } = await get("v1/models");
  return (data.find((each) => !each.parent) ?? data[0])?.id ?? null;
}

/** All variants that are saved here, by name, page by page. Raises ApiError. */
export async function everyVariant() {
  const found = [];
  for (let after = ""; after !== null; ) {
    const { data, next } = await get("v1/variants", { limit: 100, after });
    found.push(...data);
    after = next;
  }
  return found;
}

let names = null;

/** What the SAEs are called, by id; asked for once. Where that fails there are no names. */
export function saeNames() {
  names ??= get("v1/saes").then(({ data }) => new Map(data.map((each) => [each.id, each.name])), () => new Map());
  return names;
}
