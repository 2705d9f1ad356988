"""The map of a dictionary: what writes alike lies together, always in the same way."""

from collections.abc import Sequence

import numpy as np
import pytest

from featurehub.errors import InvalidInput
from labeling import feature_map
from labeling.feature_map import NEIGHBORS, STEPS, beginning, map_latents, neighbors_of, squared

GROUPS, EACH, WIDTH = 6, 20, 16


@pytest.fixture(scope="module")
def rows() -> np.ndarray:
    """Rows in groups that point alike; each has another length."""
    random = np.random.default_rng(0)
    middles = np.repeat(np.eye(GROUPS, WIDTH), EACH, axis=0)
    noisy = middles + random.normal(0, 0.08, middles.shape)
    return (noisy * random.uniform(0.5, 9.0, (len(noisy), 1))).astype(np.float32)


def test_what_points_alike_lies_together_and_always_there(rows: np.ndarray) -> None:
    latents = [2 * at for at in range(len(rows))]
    decoder = np.zeros((2 * len(rows), WIDTH), np.float32)
    decoder[latents] = rows
    found = map_latents(decoder, latents)
    assert found.latents.tolist() == latents
    assert found.places.dtype == np.uint16
    assert found.places.max() == STEPS
    for at, place in enumerate(found.places.astype(float)):
        near = np.argsort(np.linalg.norm(found.places - place, axis=1))[: EACH // 2]
        assert set(near // EACH) == {at // EACH}
    assert (map_latents(decoder, latents).places == found.places).all()


def test_neighbours_are_those_of_all_pairs(rows: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feature_map, "BLOCK", 7)
    units = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    found, distances = neighbors_of(units)
    for at, unit in enumerate(units):
        naive = sorted((1 - float(unit @ other), to) for to, other in enumerate(units) if to != at)[:NEIGHBORS]
        assert found[at].tolist() == [at, *(to for _, to in naive)]
        assert distances[at] == pytest.approx([0.0, *(far for far, _ in naive)], abs=1e-6)


@pytest.mark.parametrize("count", [0, 1, 2, 5])
def test_few_features_lie_where_their_directions_lead(count: int) -> None:
    rows = np.random.default_rng(1).normal(size=(8, 8)).astype(np.float32)
    found = map_latents(rows, range(count))
    assert found.places.shape == (count, 2)
    assert len({tuple(each) for each in found.places.tolist()}) == count


@pytest.mark.parametrize("row", [[0.0, 0.0], [1.0, 2.0]])
def test_rows_that_are_one_have_one_place(row: Sequence[float]) -> None:
    places = beginning(np.array([row] * 3, np.float32))
    assert np.ptp(places, axis=0).max() == 0


def test_neither_side_is_stretched() -> None:
    assert squared(np.array([[0, 0], [4, 1], [2, 1]], np.float32)).tolist() == [
        [0, 24576],
        [65535, 40959],
        [32768, 40959],
    ]


def test_too_many_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feature_map, "LARGEST", 2)
    with pytest.raises(InvalidInput, match="at most 2 features"):
        map_latents(np.eye(4), range(3))
