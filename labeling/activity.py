"""The words on which latents are most active.

A word's activation is that of the token in which it begins. Its mean m over all n of its occurrences is drawn to 0
where these are few:

    m = Σ x / (n + PRIOR)
"""

from array import array
from collections.abc import Sequence

import numpy as np
from scipy.sparse import csr_matrix

from featurehub.sparse import columns_of
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
        places, rows = array("i"), array("q")
        for offset, pieces in zip(corpus.offsets.tolist(), corpus.pieces, strict=False):
            own = find_words(pieces)
            known = [at for at, word in enumerate(own.words) if word in place]
            places.extend(place[own.words[at]] for at in known)
            rows.extend((offset + own.tokens[known]).tolist())
        shape = (len(words), corpus.matrix.get_shape()[0])
        self.occurs = csr_matrix((np.ones(len(rows), np.float32), (np.array(places), np.array(rows))), shape=shape)
        self.counts = np.asarray(self.occurs.sum(axis=1))
        self.matrix = columns_of(corpus.matrix)

    def means(self, latents: Sequence[int]) -> np.ndarray:
        """[words, latents]: the mean m of each latent on each word."""
        return csr_matrix(self.occurs @ self.matrix[:, list(latents)]).toarray() / (self.counts + PRIOR)
