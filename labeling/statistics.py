"""The rows that a feature's page shows: how often and how strongly it fires and where, what it writes, and its like."""

import os
from array import array
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple, overload
from weakref import finalize

import numpy as np

from featurehub.records import Context, FeatureRow, Histogram
from featurehub.scratch import scratch_file
from featurehub.sparse import columns_of
from labeling.coactivity import CoActivity
from labeling.corpus import Corpus
from labeling.logit_lens import Projection

__all__ = ["PackedRows", "StatisticsConfig", "contexts_of", "feature_rows", "nearest"]

QUANTILES = (0.5, 0.9, 0.99)
BLOCK = 256
"""Latents that are compared with all others at once."""


class StatisticsConfig(NamedTuple):
    """How much a feature's page shows.

    Attributes:
        contexts: Stretches of text per latent, at most one of each document.
        radius: Tokens on either side of the peak.
        neighbors: Latents with similar decoder rows.
        coactive: Latents that fire on the same tokens.
        bins: Parts of the histogram.
    """

    contexts: int = 5
    radius: int = 12
    neighbors: int = 5
    coactive: int = 5
    bins: int = 20


class PackedRows(Sequence[FeatureRow]):
    """Rows on disk, each as its JSON: as values, those of 65,536 latents take more than 2 GB.

    The file is one of ``featurehub.scratch``, and takes about 4 KB per latent.

    Args:
        rows: The rows; they are taken one by one.
    """

    def __init__(self, rows: Iterable[FeatureRow]) -> None:
        self._file = scratch_file()
        finalize(self, self._file.close)
        self._ends = array("q", [0])
        for row in rows:
            self._ends.append(self._ends[-1] + self._file.write(row.model_dump_json().encode()))
        self._file.flush()

    def __len__(self) -> int:
        return len(self._ends) - 1

    @overload
    def __getitem__(self, index: int) -> FeatureRow: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[FeatureRow]: ...
    def __getitem__(self, index: int | slice) -> FeatureRow | Sequence[FeatureRow]:
        at = range(len(self))[index]
        return [self._read(each) for each in at] if isinstance(at, range) else self._read(at)

    def _read(self, at: int) -> FeatureRow:
        start, end = self._ends[at], self._ends[at + 1]
        return FeatureRow.model_validate_json(os.pread(self._file.fileno(), end - start, start))


def feature_rows(
    corpus: Corpus, tokens: int, W_dec: np.ndarray, projection: Projection | None, config: StatisticsConfig
) -> Iterator[FeatureRow]:
    """Computes the statistics of every live latent.

    Args:
        corpus: Documents with their activations.
        tokens: Number of ordinary tokens in the corpus; a latent's ``density`` is the share of them on which it is
            active.
        W_dec: [d_sae, d_model] decoder rows.
        projection: What each latent writes; None leaves its tokens empty.
        config: How much to keep.

    Yields:
        One row per live latent, by index.
    """
    firings = list(firings_of(corpus))
    live = np.array([latent for latent, *_ in firings], dtype=np.intp)
    coactivity = CoActivity(corpus.matrix, tokens)
    for (latent, values, rows), neighbors in zip(firings, nearest(W_dec, live, config.neighbors), strict=True):
        yield FeatureRow(
            latent=latent,
            density=len(values) / tokens,
            max_activation=float(values.max()),
            quantiles=dict(zip(map(str, QUANTILES), np.quantile(values, QUANTILES).tolist(), strict=True)),
            contexts=tuple(strongest_contexts(corpus, values, rows, config)),
            top_tokens=projection.top[latent] if projection else (),
            bottom_tokens=projection.bottom[latent] if projection else (),
            neighbors=neighbors,
            histogram=histogram_of(values, config.bins),
            coactive=coactivity.of(latent, rows, config.coactive),
        )


def histogram_of(values: np.ndarray, bins: int) -> Histogram:
    """Positive activations, counted in equal parts from 0 to the largest."""
    high = float(values.max())
    counts, _ = np.histogram(values.astype(np.float64), bins, (0.0, high))
    return Histogram(low=0.0, high=high, counts=tuple(counts.tolist()))


def contexts_of(corpus: Corpus, config: StatisticsConfig) -> dict[int, tuple[Context, ...]]:
    """The stretches of text in which each live latent fires most, by latent.

    Args:
        corpus: Documents with their activations.
        config: How much to keep.
    """
    return {
        latent: tuple(strongest_contexts(corpus, values, rows, config)) for latent, values, rows in firings_of(corpus)
    }


def firings_of(corpus: Corpus) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    """Each live latent with its activations and their tokens, in order."""
    columns = columns_of(corpus.matrix)
    for latent in np.flatnonzero(np.diff(columns.indptr)).tolist():
        stored = slice(columns.indptr[latent], columns.indptr[latent + 1])
        yield latent, columns.data[stored], columns.indices[stored]


def nearest(W_dec: np.ndarray, latents: np.ndarray, count: int) -> Iterator[tuple[int, ...]]:
    """Finds the latents with the most similar decoder rows.

    Args:
        W_dec: [d_sae, d_model] decoder rows.
        latents: Indices of the latents whose neighbours are wanted.
        count: Neighbours of each.

    Yields:
        For each of ``latents``, the other latents with the highest cosine of decoder rows, closest first.
    """
    unit = W_dec / np.maximum(np.linalg.norm(W_dec, axis=1, keepdims=True), 1e-12)
    count = min(count, len(unit) - 1)
    for start in range(0, len(latents), BLOCK):
        block = latents[start : start + BLOCK]
        alike = unit[block] @ unit.T
        alike[np.arange(len(block)), block] = -np.inf
        best = np.argpartition(-alike, count - 1, axis=1)[:, :count] if count else np.empty((len(block), 0), np.intp)
        for row, found in zip(alike, best, strict=True):
            yield tuple(found[np.lexsort((found, -row[found]))].tolist())


def strongest_contexts(
    corpus: Corpus, values: np.ndarray, rows: np.ndarray, config: StatisticsConfig
) -> Iterator[Context]:
    """The contexts around the highest peaks, at most one of each document. ``rows`` of the corpus are ascending."""
    documents = np.searchsorted(corpus.offsets, rows, side="right") - 1
    seen: set[int] = set()
    for at in np.argsort(-values, kind="stable"):
        document = int(documents[at])
        if document in seen:
            continue
        seen.add(document)
        yield context_around(corpus, values, rows, document, int(rows[at]), config.radius)
        if len(seen) == config.contexts:
            return


def context_around(
    corpus: Corpus, values: np.ndarray, rows: np.ndarray, document: int, row: int, radius: int
) -> Context:
    begin, end = int(corpus.offsets[document]), int(corpus.offsets[document + 1])
    start, stop = max(begin, row - radius), min(end, row + radius + 1)
    stored = slice(*np.searchsorted(rows, [start, stop]))
    activations = np.zeros(stop - start, values.dtype)
    activations[rows[stored] - start] = values[stored]
    return Context(
        tokens=tuple(corpus.documents[document][start - begin : stop - begin]), activations=tuple(activations.tolist())
    )
