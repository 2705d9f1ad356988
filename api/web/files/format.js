// Numbers and names as people read them.

const whole = new Intl.NumberFormat("en");
const short = new Intl.NumberFormat("en", { maximumSignificantDigits: 3 });
const share = new Intl.NumberFormat("en", { style: "percent", maximumFractionDigits: 0 });

/** 1234567 as "1,234,567". */
export const count = (value) => whole.format(value);

/** Three digits: 0.01234 as "0.0123". */
export const number = (value) => short.format(value);

/** 0.42 as "42%". */
export const percent = (value) => share.format(value);

/** A signed share: -0.4 as "−40%", 0.4 as "+40%". */
export const signed = (value) => (value > 0 ? "+" : "") + share.format(value).replace("-", "−");

/** A density as "1 in 250 tokens". */
export function density(value) {
  if (value <= 0) return "never";
  if (value >= 0.5) return `${percent(value)} of tokens`;
  return `1 in ${short.format(1 / value)} tokens`;
}

/** "layers.8.resid_post" as "layer 8". */
export function layer(hook) {
  const found = layerOf(hook);
  return found === null ? hook : `layer ${found}`;
}

/** 8, of "layers.8.resid_post"; null of what has no layer. */
export function layerOf(hook) {
  const found = /layers\.(\d+)/.exec(hook);
  return found === null ? null : Number(found[1]);
}

/** A text as one word of a shell's command. */
export const shellWord = (text) => (/^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`);

/** A date and time in the reader's own way. */
export const time = (text) => new Date(text).toLocaleString();

/** What stands for a feature in an address or a request: always unique. */
export const nameOf = (feature) => feature.id;

/** A label, or what a feature without one is called. */
export const labelOf = (feature) => feature.label || `latent ${feature.latent}`;
