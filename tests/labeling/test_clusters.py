"""Clusters of decoder rows, against a naive twin that merges whatever it can, the most alike first."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from featurehub.errors import InvalidInput
from labeling import clusters
from labeling.clusters import find_clusters


def split(seed: int, concepts: int, parts: int, width: int = 64, apart: float = 0.5) -> np.ndarray:
    """Rows of concepts that were split into parts, one after the other, of any lengths."""
    draw = np.random.default_rng(seed)
    centers = draw.normal(size=(concepts, 1, width))
    rows = centers + apart * draw.normal(size=(concepts, parts, width))
    return (rows.reshape(-1, width) * draw.uniform(0.5, 20, size=(concepts * parts, 1))).astype(np.float32)


def naive(rows: np.ndarray, cosine: float) -> set[tuple[int, ...]]:
    """Complete linkage as one would explain it."""
    units = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    alike = units @ units.T
    found = [(n,) for n in range(len(rows))]
    while True:
        pairs = [(min(alike[i, j] for i in a for j in b), a, b) for a, b in combinations(found, 2)]
        least, one, other = max(pairs, default=(-1.0, (), ()))
        if least < cosine:
            return {tuple(sorted(each)) for each in found if len(each) > 1}
        found = [each for each in found if each not in (one, other)] + [one + other]


def test_what_was_split_is_found() -> None:
    found = find_clusters(split(0, 6, 3), 0.6)
    assert {each.latents for each in found} == {(n, n + 1, n + 2) for n in range(0, 18, 3)}
    assert [each.cosine for each in found] == sorted((each.cosine for each in found), reverse=True)
    for each in found:
        assert 0.6 <= each.least <= each.cosine < 1
        assert each.length == pytest.approx(np.sqrt(3 + 6 * each.cosine), rel=1e-4)


@given(st.integers(0, 10_000), st.floats(0.15, 0.9))
def test_they_are_those_of_the_naive_twin(seed: int, cosine: float) -> None:
    rows = split(seed, 4, 4, width=8, apart=0.8)
    assert {each.latents for each in find_clusters(rows, cosine)} == naive(rows, cosine)


def test_nothing_is_chained() -> None:
    """Neighbors on a circle are alike, those beyond them are not."""
    angles = np.arange(0, np.pi, np.pi / 12)
    rows = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    for each in find_clusters(rows, float(np.cos(np.pi / 12)) - 1e-3):
        assert len(each.latents) == 2


def test_blocks_make_no_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = split(1, 10, 3)
    whole = find_clusters(rows, 0.5)
    monkeypatch.setattr(clusters, "BLOCK", 4)
    assert find_clusters(rows, 0.5) == whole


def test_rows_that_write_nothing_are_left_out() -> None:
    rows = split(2, 2, 2)
    rows[[0, 3]] = 0.0
    assert find_clusters(rows, 0.1) == []
    assert find_clusters(np.zeros((0, 4), np.float32), 0.5) == []


def test_what_hangs_together_as_a_whole_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clusters, "LARGEST_COMPONENT", 4)
    with pytest.raises(InvalidInput, match="5 latents hang together"):
        find_clusters(split(3, 1, 5), 0.3)
    for cosine in (0.0, 1.0, -1.0, float("nan")):
        with pytest.raises(InvalidInput, match="between 0 and 1"):
            find_clusters(split(3, 1, 5), cosine)
