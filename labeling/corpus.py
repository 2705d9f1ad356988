"""Documents with the activations of every latent on them, split and pooled."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from scipy.sparse import csc_matrix, csr_matrix

from featurehub.errors import InvalidInput
from featurehub.sparse import MatrixWriter, entries_per_column, rows_of, spans, without_rows
from labeling.texts import PackedTexts
from labeling.words import BREAK

__all__ = ["Corpus", "peak_levels", "pool", "split"]


class Corpus(NamedTuple):
    """Documents with the activations of every latent on their tokens.

    Both may be many times what memory holds: ``labeling.texts`` and ``featurehub.sparse`` keep them on disk.

    Attributes:
        documents: The text that each token adds, "" for special tokens; concatenated, it is the document's text.
        matrix: [tokens, d_sae] activations >= 0 of all documents, one after the other; rows of special tokens are
            empty.
        offsets: [documents + 1] the rows of ``matrix`` at which documents begin, and its end.
    """

    documents: Sequence[Sequence[str]]
    matrix: csr_matrix
    offsets: np.ndarray

    @property
    def pieces(self) -> Iterator[list[str]]:
        """The documents, one at a time, with special tokens as ``BREAK``.

        A token that only begins a character adds no text either, but unlike a special token it has activations.
        """
        silent = np.diff(self.matrix.indptr) == 0
        for start, document in zip(self.offsets, self.documents, strict=False):
            yield [piece or (BREAK if silent[start + at] else "") for at, piece in enumerate(document)]

    @property
    def live(self) -> list[int]:
        """Indices of the latents that fire on any token."""
        return np.flatnonzero(entries_per_column(self.matrix)).tolist()

    def without(self, mask: np.ndarray) -> "Corpus":
        """The corpus with some tokens as special ones: they have neither text nor activations.

        Args:
            mask: [tokens] bool, which ones.
        """
        documents = PackedTexts(
            ["" if hidden else piece for piece, hidden in zip(document, mask[start:], strict=False)]
            for start, document in zip(self.offsets, self.documents, strict=False)
        )
        return self._replace(documents=documents, matrix=without_rows(self.matrix, mask))

    def checked(self) -> "Corpus":
        """The corpus itself, once documents, rows and offsets are known to fit together.

        Raises:
            InvalidInput: They do not fit together.
        """
        lengths = [len(document) for document in self.documents]
        if not np.array_equal(np.diff(self.offsets), lengths) or self.offsets[-1] != self.matrix.get_shape()[0]:
            raise InvalidInput("the corpus has activations for other tokens than its documents have", param="corpus")
        return self

    def subset(self, chosen: np.ndarray) -> "Corpus":
        """The chosen documents, by index, in that order."""
        begins, ends = self.offsets[chosen], self.offsets[chosen + 1]
        documents = [self.documents[int(at)] for at in chosen]
        offsets = np.concatenate([[0], np.cumsum(ends - begins, dtype=np.int64)])
        return Corpus(documents, rows_of(self.matrix, zip(begins.tolist(), ends.tolist(), strict=True)), offsets)


def split(corpus: Corpus, share: float, seed: int) -> tuple[Corpus, Corpus]:
    """Splits a corpus at random into two that share no document.

    Args:
        corpus: The corpus.
        share: Share of the documents that the second one gets, in [0, 1].
        seed: The same seed splits the same way.
    """
    order = np.random.default_rng(seed).permutation(len(corpus.documents))
    cut = round(len(order) * (1 - share))
    return corpus.subset(np.sort(order[:cut])), corpus.subset(np.sort(order[cut:]))


def pool(columns: csc_matrix, owners: np.ndarray, count: int) -> csc_matrix:
    """The largest activation of every latent in every unit, [count, d_sae], on disk.

    Args:
        columns: [tokens, d_sae] activations, as ``featurehub.sparse.columns_of`` gives them.
        owners: [tokens] the unit that each row belongs to, ascending; -1, anywhere, for none.
        count: How many units there are.
    """
    pooled = MatrixWriter(count)
    for start, stop in spans(columns.indptr):
        block = columns[:, start:stop]
        units = owners[block.indices]
        owned = units >= 0
        latents = np.repeat(np.arange(stop - start), np.diff(block.indptr))[owned]
        units = units[owned]
        first = np.flatnonzero(np.diff(units, prepend=-1) | np.diff(latents, prepend=-1))
        peaks = np.maximum.reduceat(block.data[owned], first) if len(first) else block.data[:0]
        pooled.add(peaks, units[first], np.bincount(latents[first], minlength=stop - start))
    return pooled.columns()


def peak_levels(peaks: csc_matrix, quantile: float) -> np.ndarray:
    """A quantile of each latent's positive peaks, [d_sae]; infinite for a latent that never fires.

    Args:
        peaks: [units, d_sae] largest activations.
        quantile: In [0, 1].
    """
    levels = np.full(peaks.get_shape()[1], np.inf, dtype=np.float32)
    for latent, (start, stop) in enumerate(zip(peaks.indptr, peaks.indptr[1:], strict=False)):
        if stop > start:
            levels[latent] = np.quantile(peaks.data[start:stop], quantile)
    return levels
