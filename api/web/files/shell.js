// The frame of every page: the switch between light and dark, and how the server is.
import { byId, h, show } from "./dom.js";
import { count } from "./format.js";

const THEMES = ["system", "light", "dark"];
const KEY = "featurehub.theme";
const button = byId("theme");

function paint(theme) {
  if (theme === "system") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
  button.textContent = `Theme: ${theme}`;
}

button.addEventListener("click", () => {
  const theme = THEMES[(THEMES.indexOf(localStorage.getItem(KEY) ?? "system") + 1) % THEMES.length];
  localStorage.setItem(KEY, theme);
  paint(theme);
});
paint(localStorage.getItem(KEY) ?? "system");

// Not through ./api.js: whether the server is well is no secret, and that it is not well is no error of the page's.
async function health() {
  const served = byId("served");
  const answer = await fetch("healthz").then((response) => response.json(), () => null);
  if (answer === null) return show(served, "server not reached");
  if (answer.engine === "absent") return show(served, "registry only");
  const saes = `${count(answer.saes.length)} ${answer.saes.length === 1 ? "SAE" : "SAEs"} served`;
  return show(served, h("span", { class: `dot ${answer.status}`, "aria-hidden": "true" }), `${answer.status} · ${saes}`);
}

health();
