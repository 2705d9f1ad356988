// Which model answers here.
import { get } from "./api.js";

/** The name of the served model, or null where the server hosts the registry alone. Raises ApiError. */
export async function servedModel() {
  const { engine } = await get("healthz");
  if (engine === "absent") return null;
  const { data } = await get("v1/models");
  return (data.find((each) => !each.parent) ?? data[0])?.id ?? null;
}
