"""The rows of a feature's page against the dense matrix."""

import numpy as np
import pytest

from featurehub.records import FeatureRow, TokenLogit
from labeling.corpus import Corpus
from labeling.logit_lens import Projection
from labeling.statistics import PackedRows, StatisticsConfig, feature_rows, nearest

D_SAE, DEAD = 8, 7
CONFIG = StatisticsConfig(contexts=4, radius=3, neighbors=3)


@pytest.fixture(scope="module")
def W_dec() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(D_SAE, 6)).astype(np.float32)


@pytest.fixture(scope="module")
def rows(corpus: Corpus, W_dec: np.ndarray) -> dict[int, FeatureRow]:
    return {row.latent: row for row in feature_rows(corpus, len(corpus.matrix.indptr) - 1, W_dec, None, CONFIG)}


def test_there_is_one_row_per_live_latent(corpus: Corpus, rows: dict[int, FeatureRow]) -> None:
    assert set(rows) == set(np.flatnonzero(corpus.matrix.getnnz(axis=0)))
    assert DEAD not in rows


def test_packed_rows_are_the_same_rows(rows: dict[int, FeatureRow]) -> None:
    packed = PackedRows(iter(rows.values()))
    assert list(packed) == list(rows.values())
    assert (len(packed), packed[-1], packed[1:3]) == (len(rows), list(rows.values())[-1], list(rows.values())[1:3])


def test_numbers_are_those_of_the_matrix(corpus: Corpus, rows: dict[int, FeatureRow]) -> None:
    dense = corpus.matrix.toarray()
    for latent, row in rows.items():
        active = dense[:, latent][dense[:, latent] > 0]
        assert row.density == pytest.approx(len(active) / len(dense))
        assert row.max_activation == pytest.approx(active.max())
        assert {float(q): v for q, v in row.quantiles.items()} == pytest.approx(
            {q: np.quantile(active, q) for q in (0.5, 0.9, 0.99)}
        )


def test_histograms_count_every_activation_once(corpus: Corpus, rows: dict[int, FeatureRow]) -> None:
    dense = corpus.matrix.toarray()
    for latent, row in rows.items():
        active = dense[:, latent][dense[:, latent] > 0].astype(np.float64)
        assert row.histogram is not None
        low, high, counts = row.histogram.low, row.histogram.high, row.histogram.counts
        assert (low, high, len(counts)) == (0.0, row.max_activation, CONFIG.bins)
        parts = np.minimum(np.floor(active / high * len(counts)), len(counts) - 1)
        assert [int((parts == part).sum()) for part in range(len(counts))] == list(counts)
        assert row.histogram.middles == pytest.approx(
            [high * (part + 0.5) / len(counts) for part in range(len(counts))]
        )


def test_what_fires_on_the_same_tokens_is_that_of_the_matrix(corpus: Corpus, rows: dict[int, FeatureRow]) -> None:
    fires = corpus.matrix.toarray() > 0
    for latent, row in rows.items():
        for each in row.coactive:
            both, either = fires[:, latent] & fires[:, each.latent], fires[:, latent] | fires[:, each.latent]
            assert each.jaccard == pytest.approx(both.sum() / either.sum())
            assert each.latent != latent


def test_contexts_are_the_strongest_of_different_documents_with_their_activations(
    corpus: Corpus, rows: dict[int, FeatureRow]
) -> None:
    flat = [piece for document in corpus.documents for piece in document]
    for latent, row in rows.items():
        column = corpus.matrix[:, latent].toarray().ravel()
        peaks = sorted(
            (column[a:b].max() for a, b in zip(corpus.offsets, corpus.offsets[1:], strict=False)), reverse=True
        )
        wanted = [peak for peak in peaks[: CONFIG.contexts] if peak > 0]
        assert [max(context.activations) for context in row.contexts] == pytest.approx(wanted)
        for context in row.contexts:
            assert len(context.tokens) == len(context.activations) <= 2 * CONFIG.radius + 1
            assert occurs(flat, column, context.tokens, context.activations)


def occurs(flat: list[str], column: np.ndarray, tokens: tuple[str, ...], activations: tuple[float, ...]) -> bool:
    size = len(tokens)
    return any(
        tuple(flat[at : at + size]) == tokens and np.allclose(column[at : at + size], activations)
        for at in range(len(flat) - size + 1)
    )


def test_neighbours_are_the_latents_that_write_most_alike_and_never_itself(
    W_dec: np.ndarray, rows: dict[int, FeatureRow]
) -> None:
    unit = W_dec / np.linalg.norm(W_dec, axis=1, keepdims=True)
    for latent, row in rows.items():
        others = sorted((i for i in range(D_SAE) if i != latent), key=lambda i: -float(unit[i] @ unit[latent]))
        assert list(row.neighbors) == others[: CONFIG.neighbors]


def test_latents_with_one_direction_are_neighbours_of_each_other_and_not_of_themselves(corpus: Corpus) -> None:
    same = np.ones((D_SAE, 4), dtype=np.float32)
    for row in feature_rows(corpus, len(corpus.matrix.indptr) - 1, same, None, CONFIG):
        assert row.latent not in row.neighbors
        assert len(set(row.neighbors)) == CONFIG.neighbors


def test_a_dead_latent_without_a_direction_disturbs_nobody(corpus: Corpus, W_dec: np.ndarray) -> None:
    zeroed = W_dec.copy()
    zeroed[DEAD] = 0.0
    for row in feature_rows(corpus, len(corpus.matrix.indptr) - 1, zeroed, None, CONFIG):
        assert len(row.neighbors) == CONFIG.neighbors


def test_projected_tokens_are_passed_on(corpus: Corpus, W_dec: np.ndarray) -> None:
    top, bottom = ([(TokenLogit(token=f"{end}{i}", logit=1.0),) for i in range(D_SAE)] for end in ("top", "bottom"))
    for row in feature_rows(corpus, len(corpus.matrix.indptr) - 1, W_dec, Projection(top, bottom), CONFIG):
        assert row.top_tokens == top[row.latent]
        assert row.bottom_tokens == bottom[row.latent]


@pytest.mark.parametrize(("d_sae", "count"), [(1, 5), (4, 5), (300, 5), (600, 1)])
def test_neighbours_are_those_that_each_latent_alone_would_find(d_sae: int, count: int) -> None:
    """More latents than fit into a block, some with equal rows and some without any."""
    generator = np.random.default_rng(d_sae)
    W_dec = generator.standard_normal((d_sae, 12)).astype(np.float32)
    W_dec[::7] = W_dec[0]
    W_dec[1::50] = 0.0
    latents = np.arange(0, d_sae, 2)
    unit = W_dec / np.maximum(np.linalg.norm(W_dec, axis=1, keepdims=True), 1e-12)
    for latent, found in zip(latents, nearest(W_dec, latents, count), strict=True):
        alike = unit @ unit[latent]
        others = [each for each in np.argsort(-alike, kind="stable").tolist() if each != latent][:count]
        assert len(set(found)) == len(others)
        assert latent not in found
        np.testing.assert_allclose(alike[list(found)], alike[others], atol=1e-6)
