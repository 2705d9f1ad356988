"""Co-activation against sets of tokens."""

import numpy as np
import pytest
from scipy.sparse import csc_matrix, csr_matrix

from featurehub.records import CoActive
from labeling import coactivity
from labeling.coactivity import LEAST, CoActivity

TOKENS, D_SAE = 400, 24


def made(seed: int = 0) -> csr_matrix:
    """Latents of many densities, some of which fire with another one; one is dead, and two are the same."""
    random = np.random.default_rng(seed)
    fires = random.random((TOKENS, D_SAE)) < random.choice([0.005, 0.05, 0.3, 0.97], size=D_SAE)
    fires[:, 5] = fires[:, 4] & (random.random(TOKENS) < 0.8)
    fires[:, 6] = fires[:, 7] = random.random(TOKENS) < 0.1
    fires[:, 8] = False
    return csr_matrix(np.where(fires, random.random((TOKENS, D_SAE)) + 0.1, 0.0).astype(np.float32))


def naive(matrix: csr_matrix, latent: int, count: int) -> list[tuple[int, float]]:
    fires = [set(np.flatnonzero(column > 0)) for column in matrix.toarray().T]
    found: list[tuple[int, float]] = []
    for other, tokens in enumerate(fires):
        both = len(tokens & fires[latent])
        if other != latent and both >= LEAST and both > len(tokens) * len(fires[latent]) / TOKENS:
            found.append((other, both / len(tokens | fires[latent])))
    return sorted(found, key=lambda each: (-each[1], each[0]))[:count]


@pytest.mark.parametrize("at_once", [1, 7, 10_000])
@pytest.mark.parametrize("count", [1, 5, 100])
def test_they_are_those_of_the_sets(at_once: int, count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(coactivity, "TOKENS", at_once)
    matrix = made()
    columns, coactive = csc_matrix(matrix), CoActivity(matrix, TOKENS)
    columns.sort_indices()
    some = 0
    for latent in range(D_SAE):
        rows = columns.indices[columns.indptr[latent] : columns.indptr[latent + 1]]
        found = coactive.of(latent, rows, count)
        assert [(each.latent, each.jaccard) for each in found] == naive(matrix, latent, count)
        some += len(found)
    assert some > D_SAE / 4


def test_the_same_latent_twice_is_whole_and_luck_is_nothing() -> None:
    matrix = made()
    rows = np.flatnonzero(matrix[:, [6]].toarray())
    assert CoActivity(matrix, TOKENS).of(6, rows, 1) == (CoActive(latent=7, jaccard=1.0),)
    once = csr_matrix(np.eye(2, 1) @ np.ones((1, 3)))
    assert CoActivity(once, 1000).of(0, np.array([0]), 5) == (), "on one token, by luck"
    always = csr_matrix(np.ones((50, 3)))
    assert CoActivity(always, 50).of(0, np.arange(50), 5) == (), "what always fires goes with everything"
