"""Latents that fire on the same tokens.

1. T_i = the tokens on which latent i fires; n_i = |T_i|, n_ij = |T_i ∩ T_j|, over N tokens in all.
2. How much two go together is Jaccard's index (Jaccard 1912; used for latents of SAEs, beside other measures, in arXiv
   2410.19750):

       J_ij = |T_i ∩ T_j| / |T_i ∪ T_j| = n_ij / (n_i + n_j − n_ij)

3. Two that fire together on fewer than ``LEAST`` tokens, or no more often than by chance (n_ij ≤ n_i n_j / N), do not
   count: rare latents meet by luck, and two that nearly always fire have a large index without anything in common.

The tokens of one latent at a time are read, ``TOKENS`` at once: memory holds some numbers per latent, none per pair.
"""

import numpy as np
from scipy.sparse import csr_matrix

from featurehub.records import CoActive
from featurehub.sparse import entries_per_column
from labeling.evidence import largest

__all__ = ["CoActivity"]

LEAST = 3
TOKENS = 16_384


class CoActivity:
    """Finds the latents that fire on the same tokens as a given one.

    Args:
        matrix: [tokens, d_sae] activations; what is stored is above 0.
        tokens: N, which may be fewer than the rows: special tokens have rows, and nothing fires there.
    """

    def __init__(self, matrix: csr_matrix, tokens: int) -> None:
        self._matrix, self._tokens = matrix, tokens
        self._fires = entries_per_column(matrix)

    def of(self, latent: int, rows: np.ndarray, count: int) -> tuple[CoActive, ...]:
        """The latents that go together with one most, best first; among equals, by index.

        Args:
            latent: Its index in the SAE.
            rows: The rows in which it fires.
            count: The most that are given.
        """
        together = self.counts(rows)
        together[latent] = 0
        expected = len(rows) * self._fires / max(1, self._tokens)
        others = np.flatnonzero((together >= LEAST) & (together > expected))
        jaccard = together[others] / (len(rows) + self._fires[others] - together[others])
        best = largest(jaccard, count)
        return tuple(CoActive(latent=int(others[at]), jaccard=float(jaccard[at])) for at in best)

    def counts(self, rows: np.ndarray) -> np.ndarray:
        """[d_sae] n_ij, in how many of the rows each latent fires."""
        width = self._matrix.get_shape()[1]
        found = np.zeros(width, dtype=np.int64)
        for start in range(0, len(rows), TOKENS):
            found += np.bincount(self._matrix[rows[start : start + TOKENS]].indices, minlength=width)
        return found
