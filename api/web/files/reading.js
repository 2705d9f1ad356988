// What the features did in a chat: the API's packed matrix, unpacked.

/** The activations of v1/features/activations. */
export class Reading {
  constructor({ tokens, content, features, matrix }) {
    this.tokens = tokens;
    this.content = content;
    this.features = features;
    this.columns = new Map(features.map(({ id }, at) => [id, at]));
    this.starts = new Int32Array(buffer(matrix.starts));
    this.indices = new Int32Array(buffer(matrix.indices));
    this.values = new Float32Array(buffer(matrix.values));
  }

  /** A feature's activation at each token that is somebody's words, and 0 at the others, which nothing here counts: at
   * the first token of all, models keep what they have no other place for, and its activations would dwarf the rest. */
  of(id) {
    const column = this.columns.get(id), found = new Array(this.tokens.length).fill(0);
    if (column === undefined) return found;
    for (let row = 0; row < found.length; row += 1) {
      if (!this.content[row]) continue;
      for (let at = this.starts[row]; at < this.starts[row + 1]; at += 1) {
        if (this.indices[at] === column) found[row] = this.values[at];
      }
    }
    return found;
  }

  /** A feature's index in its SAE; null where it is not active here. */
  latentOf(id) {
    return this.columns.has(id) ? this.features[this.columns.get(id)].latent : null;
  }

  /** The strongest features at a token, strongest first: {id, label, sae, activation}. */
  at(row, limit) {
    const entries = [];
    for (let at = this.starts[row]; at < this.starts[row + 1]; at += 1) {
      if (this.values[at] > 0) entries.push({ ...this.features[this.indices[at]], activation: this.values[at] });
    }
    return entries.sort((a, b) => b.activation - a.activation).slice(0, limit);
  }
}

// Little-endian, as all machines that run browsers are.
const buffer = (text) => Uint8Array.from(atob(text), (each) => each.charCodeAt(0)).buffer;
