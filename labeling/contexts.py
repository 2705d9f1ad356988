"""Contexts of a latent: stretches of text in which it fires, at every strength, and stretches in which it does not.

1. Documents are cut into windows of ``WINDOW`` tokens, so that no two contexts share a token. A latent's peak in a
   window is its largest activation there.
2. Firing contexts: the windows with a peak, strongest first, are cut into as many parts of about equal size as contexts
   are wanted. The first part gives its strongest window, each other part one at random: so contexts come from every
   quantile of the peaks.
3. Quiet contexts: windows in which the latent does not fire at all. Up to half of them are near misses, in which a
   latent with a similar decoder row fires; the others are drawn from all.

The same seed, latent and corpus draw the same contexts, whatever was drawn before.
"""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from featurehub.records import Context
from featurehub.sparse import columns_of
from labeling.corpus import Corpus

__all__ = ["Contexts"]

WINDOW = 32


class Contexts:
    """Draws contexts from a corpus.

    Args:
        corpus: Documents with their activations.
        seed: Seed of all draws.
        window: Tokens of the longest context.
    """

    def __init__(self, corpus: Corpus, seed: int = 0, window: int = WINDOW) -> None:
        self.documents, self.offsets, self.seed = corpus.documents, corpus.offsets, seed
        self.columns = columns_of(corpus.matrix)
        starts = [np.arange(begin, end, window) for begin, end in pairwise(self.offsets)]
        self.starts = np.concatenate([*starts, self.offsets[-1:]]).astype(np.int64)

    def firing(self, latent: int, count: int, level: float = 0.0) -> tuple[Context, ...]:
        """Contexts in which the latent fires, strongest first.

        Args:
            latent: Index in the SAE.
            count: How many are wanted; fewer where it fires in fewer windows.
            level: The least peak.
        """
        windows, peaks = self.peaks(latent)
        windows, peaks = windows[peaks >= level], peaks[peaks >= level]
        order = windows[np.argsort(-peaks, kind="stable")]
        random = np.random.default_rng((self.seed, latent))
        bounds = np.linspace(0, len(order), min(count, len(order)) + 1).astype(np.int64)
        places = [int(random.integers(low, high)) for low, high in pairwise(bounds)]
        return tuple(self.context(latent, int(order[at])) for at in [0, *places[1:]][: len(places)])

    def quiet(self, latent: int, count: int, alike: Sequence[int] = ()) -> tuple[Context, ...]:
        """Contexts in which the latent does not fire, near misses first.

        Args:
            latent: Index in the SAE.
            count: How many are wanted; fewer where it fires nearly everywhere.
            alike: Latents with similar decoder rows.
        """
        silent = np.ones(len(self.starts) - 1, dtype=bool)
        silent[self.peaks(latent)[0]] = False
        random = np.random.default_rng((self.seed, latent, 1))
        others = [self.peaks(each)[0] for each in alike]
        near = np.unique(np.concatenate(others)) if others else np.empty(0, np.int64)
        near = random.permutation(near[silent[near]])[: count // 2]
        silent[near] = False
        rest = random.permutation(np.flatnonzero(silent))[: count - len(near)]
        return tuple(self.context(latent, int(at)) for at in (*near, *rest))

    def peaks(self, latent: int) -> tuple[np.ndarray, np.ndarray]:
        """Step 1: the windows in which the latent fires, in order, and its peak in each."""
        rows, values = self.fires(latent)
        if not len(rows):
            return rows.astype(np.int64), values
        windows, first = np.unique(np.searchsorted(self.starts, rows, side="right") - 1, return_index=True)
        return windows, np.maximum.reduceat(values, first)

    def fires(self, latent: int) -> tuple[np.ndarray, np.ndarray]:
        """The tokens on which the latent fires, in order, and its activations there."""
        stored = slice(self.columns.indptr[latent], self.columns.indptr[latent + 1])
        rows, values = self.columns.indices[stored], self.columns.data[stored]
        return rows[values > 0], values[values > 0]

    def context(self, latent: int, window: int) -> Context:
        """The text of a window with the latent's activations."""
        start, stop = int(self.starts[window]), int(self.starts[window + 1])
        document = int(np.searchsorted(self.offsets, start, side="right")) - 1
        begin = int(self.offsets[document])
        rows, values = self.fires(latent)
        inside = slice(*np.searchsorted(rows, [start, stop]))
        activations = np.zeros(stop - start, np.float32)
        activations[rows[inside] - start] = values[inside]
        tokens = tuple(self.documents[document][start - begin : stop - begin])
        return Context(tokens=tokens, activations=tuple(activations.tolist()))
