"""Which documents a check reads within its budget."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from saes.drift.selection import select

FIRES = np.array([[1, 0, 0], [1, 1, 0], [0, 1, 0], [0, 0, 1], [1, 0, 1]], dtype=bool)
COSTS = np.array([5, 5, 5, 5, 5])


def test_all_are_read_where_there_is_no_budget() -> None:
    whole = select(FIRES, COSTS, [], 2, np.inf)
    assert (whole.documents, whole.cost, whole.is_whole) == ([0, 1, 2, 3, 4], 25, True)


def test_the_most_used_feature_comes_first() -> None:
    found = select(FIRES, COSTS, [2, 0, 1], 2, 12)
    assert found.documents == [3, 4]
    assert found.covered.tolist() == [False, False, True]


def test_documents_that_serve_one_feature_count_for_the_next() -> None:
    found = select(FIRES, COSTS, [0, 1], 2, 15)
    assert found.documents == [0, 1, 2]
    assert found.covered.tolist() == [True, True, False]


def test_a_feature_that_fires_in_few_documents_is_covered_by_all_of_them() -> None:
    assert select(FIRES, COSTS, [2], 9, 10).covered.tolist() == [False, False, True]


def test_nothing_is_covered_where_nothing_is_read() -> None:
    found = select(FIRES, COSTS, [0, 1, 2], 1, 4)
    assert (found.documents, found.cost, found.covered.any()) == ([], 0, False)


@given(
    st.integers(0, 2**32 - 1), st.integers(1, 12), st.integers(1, 6), st.integers(1, 4), st.floats(0, 60),
)  # fmt: skip
def test_no_budget_is_exceeded_and_what_is_covered_has_its_documents(
    seed: int, documents: int, latents: int, needed: int, allowed: float
) -> None:
    draw = np.random.default_rng(seed)
    fires, costs = draw.random((documents, latents)) < 0.4, draw.integers(1, 9, documents)
    found = select(fires, costs, draw.permutation(latents).tolist(), needed, allowed)
    assert found.cost == costs[found.documents].sum() <= max(allowed, 0)
    enough = fires[found.documents].sum(axis=0) >= np.minimum(needed, fires.sum(axis=0))
    assert (found.covered <= enough).all()
    assert not found.documents or (found.covered == enough).all()
