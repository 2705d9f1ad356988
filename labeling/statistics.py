"""The rows that a feature's page shows: densities, quantiles, strongest contexts, what it writes, its neighbours."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from scipy.sparse import csc_matrix

from featurehub.records import Context, FeatureRow
from labeling.corpus import Corpus
from labeling.logit_lens import Projection

__all__ = ["StatisticsConfig", "feature_rows"]

QUANTILES = (0.5, 0.9, 0.99)


class StatisticsConfig(NamedTuple):
    """contexts: strongest stretches that are kept;  radius: tokens on either side of a peak;  neighbors: latents."""

    contexts: int = 5
    radius: int = 12
    neighbors: int = 5


def feature_rows(
    corpus: Corpus, tokens: int, W_dec: np.ndarray, projection: Projection | None, config: StatisticsConfig
) -> Iterator[FeatureRow]:
    """One row per live latent. ``tokens``: ordinary tokens of the corpus; ``W_dec``: [d_sae, d_model]."""
    columns = csc_matrix(corpus.matrix)
    unit = W_dec / np.maximum(np.linalg.norm(W_dec, axis=1, keepdims=True), 1e-12)
    for latent in np.flatnonzero(np.diff(columns.indptr)).tolist():
        stored = slice(columns.indptr[latent], columns.indptr[latent + 1])
        values, rows = columns.data[stored], columns.indices[stored]
        alike = unit @ unit[latent]
        alike[latent] = -np.inf
        nearest = np.argsort(-alike)[: config.neighbors]
        yield FeatureRow(
            latent=latent,
            density=len(values) / tokens,
            max_activation=float(values.max()),
            quantiles={str(q): float(np.quantile(values, q)) for q in QUANTILES},
            contexts=tuple(strongest_contexts(corpus, columns, latent, values, rows, config)),
            top_tokens=projection.top[latent] if projection else (),
            bottom_tokens=projection.bottom[latent] if projection else (),
            neighbors=tuple(nearest.tolist()),
        )


def strongest_contexts(
    corpus: Corpus, columns: csc_matrix, latent: int, values: np.ndarray, rows: np.ndarray, config: StatisticsConfig
) -> Iterator[Context]:
    """Around the highest peaks, at most one of each document."""
    documents = np.searchsorted(corpus.offsets, rows, side="right") - 1
    seen: set[int] = set()
    for at in np.argsort(-values, kind="stable"):
        document = int(documents[at])
        if document in seen:
            continue
        seen.add(document)
        yield context_around(corpus, columns, latent, document, int(rows[at]), config.radius)
        if len(seen) == config.contexts:
            return


def context_around(corpus: Corpus, columns: csc_matrix, latent: int, document: int, row: int, radius: int) -> Context:
    begin, end = int(corpus.offsets[document]), int(corpus.offsets[document + 1])
    start, stop = max(begin, row - radius), min(end, row + radius + 1)
    activations = corpus.matrix[start:stop, latent].toarray().ravel()
    return Context(
        tokens=tuple(corpus.documents[document][start - begin : stop - begin]),
        activations=tuple(float(value) for value in activations),
    )
