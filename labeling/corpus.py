"""Documents with what every latent did on them, split and pooled."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.sparse import csc_matrix, csr_matrix

from featurehub.errors import InvalidInput
from labeling.words import BREAK

__all__ = ["Corpus", "peak_levels", "pool", "split"]


class Corpus(NamedTuple):
    """documents: the text that each token adds, "" for special ones; concatenated they are the text
    matrix:    [tokens, d_sae] activations >= 0 of all documents, one after the other; rows of special tokens are empty
    offsets:   [documents + 1] rows of ``matrix`` at which documents begin
    """

    documents: Sequence[Sequence[str]]
    matrix: csr_matrix
    offsets: np.ndarray

    @property
    def pieces(self) -> list[list[str]]:
        """The documents with special tokens as ``BREAK``.

        A token that only begins a character adds no text either, but it has activations, which special tokens have not.
        """
        silent = np.diff(self.matrix.indptr) == 0
        return [
            [piece or (BREAK if silent[start + at] else "") for at, piece in enumerate(document)]
            for start, document in zip(self.offsets, self.documents, strict=False)
        ]

    def checked(self) -> "Corpus":
        """Itself. Raises InvalidInput where documents, rows and offsets do not fit together."""
        lengths = [len(document) for document in self.documents]
        if not np.array_equal(np.diff(self.offsets), lengths) or self.offsets[-1] != self.matrix.get_shape()[0]:
            raise InvalidInput("the corpus has activations for other tokens than its documents have", param="corpus")
        return self

    def subset(self, chosen: np.ndarray) -> "Corpus":
        """The chosen documents, by index, in that order."""
        rows = [np.arange(self.offsets[at], self.offsets[at + 1]) for at in chosen]
        documents = [self.documents[int(at)] for at in chosen]
        offsets = np.concatenate([[0], np.cumsum([len(each) for each in rows], dtype=np.int64)])
        return Corpus(documents, self.matrix[np.concatenate(rows)] if rows else self.matrix[:0], offsets)


def split(corpus: Corpus, share: float, seed: int) -> tuple[Corpus, Corpus]:
    """Two corpora without a common document; the second has ``share`` of them."""
    order = np.random.default_rng(seed).permutation(len(corpus.documents))
    cut = round(len(order) * (1 - share))
    return corpus.subset(np.sort(order[:cut])), corpus.subset(np.sort(order[cut:]))


def pool(matrix: csr_matrix, owners: np.ndarray, count: int) -> csr_matrix:
    """Largest activation of every latent in every unit, [count, d_sae].

    owners: [tokens] the unit that each row belongs to; -1 for none
    """
    width = matrix.get_shape()[1]
    units = np.repeat(owners, np.diff(matrix.indptr))
    inside = units >= 0
    keys = units[inside].astype(np.int64) * width + matrix.indices[inside]
    order = np.argsort(keys, kind="stable")
    keys, first = np.unique(keys[order], return_index=True)
    data = matrix.data[inside][order]
    peaks = np.maximum.reduceat(data, first) if len(first) else data
    return csr_matrix((peaks, (keys // width, keys % width)), shape=(count, width))


def peak_levels(peaks: csc_matrix, quantile: float) -> np.ndarray:
    """Each latent's ``quantile`` of its positive peaks, [d_sae]; infinite for one that never fires."""
    levels = np.full(peaks.get_shape()[1], np.inf, dtype=np.float32)
    for latent, (start, stop) in enumerate(zip(peaks.indptr, peaks.indptr[1:], strict=False)):
        if stop > start:
            levels[latent] = np.quantile(peaks.data[start:stop], quantile)
    return levels
