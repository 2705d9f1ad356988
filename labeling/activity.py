"""The words on which latents are most active.

A word's activation is that of the token in which it begins. Its mean m over all n of its occurrences is drawn to 0
where these are few:

    m = Σ x / (n + PRIOR)
"""

from collections.abc import Sequence

import numpy as np
from scipy.sparse import csc_matrix, csr_matrix

from labeling.corpus import Corpus
from labeling.words import find_words

__all__ = ["WordActivity"]

PRIOR = 5.0


class WordActivity:
    """Mean activations of latents on words.

    Args:
        corpus: Documents with the activations on single tokens.
        words: The folded words.
    """

    def __init__(self, corpus: Corpus, words: Sequence[str]) -> None:
        place = {word: at for at, word in enumerate(words)}
        found: list[tuple[int, int]] = []
        for offset, pieces in zip(corpus.offsets.tolist(), corpus.pieces, strict=False):
            own = find_words(pieces)
            rows = (offset + own.tokens).tolist()
            found += [(place[word], row) for word, row in zip(own.words, rows, strict=True) if word in place]
        shape = (len(words), corpus.matrix.get_shape()[0])
        places = np.array(found, dtype=np.int64).reshape(-1, 2).T
        self.occurs = csr_matrix((np.ones(len(found), np.float32), tuple(places)), shape=shape)
        self.counts = np.asarray(self.occurs.sum(axis=1))
        self.matrix = csc_matrix(corpus.matrix)

    def means(self, latents: Sequence[int]) -> np.ndarray:
        """[words, latents]: the mean m of each latent on each word."""
        return csr_matrix(self.occurs @ self.matrix[:, list(latents)]).toarray() / (self.counts + PRIOR)
