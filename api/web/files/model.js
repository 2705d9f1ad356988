// Which model answers here, and what its SAEs are called.
import { get } from "./api.js";

/** The name of the served model, or null where the server hosts the registry alone. Raises ApiError. */
export async function servedModel() {
  const { engine } = await get("healthz");
  if (engine === "absent") return null;
  const { data } = await get("v1/models");
  return (data.find((each) => !each.parent) ?? data[0])?.id ?? null;
}

let names = null;

/** What the SAEs are called, by id; asked for once. Where that fails there are no names. */
export function saeNames() {
  names ??= get("v1/saes").then(({ data }) => new Map(data.map((each) => [each.id, each.name])), () => new Map());
  return names;
}
