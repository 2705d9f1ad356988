"""The statistics of a drift check against twins that try everything."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import csr_matrix
from sklearn.metrics import f1_score

from saes.drift.scores import best_threshold, correlation, f1, f1_pull

PEAKS = st.lists(
    st.tuples(st.booleans(), st.one_of(st.just(0.0), st.sampled_from([0.5, 1.0, 2.0]), st.floats(0, 10, width=16))),
    min_size=1,
    max_size=12,
)


def by_hand(truth: np.ndarray, fires: np.ndarray) -> float:
    pairs = list(zip(truth.tolist(), fires.tolist(), strict=True))
    hits, wrong = pairs.count((True, True)), pairs.count((True, False)) + pairs.count((False, True))
    return 2 * hits / (2 * hits + wrong) if hits else 0.0


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=20))
def test_f1_is_that_of_scikit_learn(pairs: list[tuple[bool, bool]]) -> None:
    truth, fires = (np.array([pair[i] for pair in pairs], dtype=bool) for i in (0, 1))
    assert f1(truth, fires) == pytest.approx(f1_score(truth, fires, zero_division=0.0))


Draw = tuple[np.ndarray, np.ndarray]


def drawn(random: np.random.Generator, share: float, right: float, wrong: float) -> Draw:
    truth = random.random(300) < share
    return truth, random.random(300) < np.where(truth, right, wrong)


@pytest.mark.parametrize(("share", "right", "wrong"), [(0.3, 0.9, 0.05), (0.1, 0.6, 0.1), (0.5, 0.5, 0.5)])
def test_the_pulls_say_how_much_f1_differs_between_draws(share: float, right: float, wrong: float) -> None:
    random = np.random.default_rng(0)
    draws = [drawn(random, share, right, wrong) for _ in range(2000)]
    spread = np.std([f1(*draw) for draw in draws])
    assert np.mean([np.linalg.norm(f1_pull(*draw)) for draw in draws]) == pytest.approx(spread, rel=0.1)


def test_the_difference_of_two_on_the_same_texts_differs_less() -> None:
    random = np.random.default_rng(0)

    def falls() -> tuple[float, float]:
        truth, before = drawn(random, 0.3, 0.9, 0.05)
        after = before & (random.random(300) < 0.8)
        error = np.linalg.norm(f1_pull(truth, before) - f1_pull(truth, after))
        return f1(truth, before) - f1(truth, after), float(error)

    sizes, errors = np.array([falls() for _ in range(2000)]).T
    assert errors.mean() == pytest.approx(sizes.std(), rel=0.1)


@given(PEAKS)
def test_the_pulls_sum_to_nothing(drawn: list[tuple[bool, float]]) -> None:
    truth, fires = np.array([each[0] for each in drawn]), np.array([each[1] > 0 for each in drawn])
    assert f1_pull(truth, fires).sum() == pytest.approx(0.0, abs=1e-9)


@given(PEAKS)
def test_no_level_predicts_better_than_the_chosen_one(drawn: list[tuple[bool, float]]) -> None:
    truth = np.array([each[0] for each in drawn])
    peaks = np.array([each[1] for each in drawn], dtype=np.float32)
    level = best_threshold(truth, peaks)
    values = sorted({0.0, *peaks.tolist()})
    tried = [by_hand(truth, peaks > candidate) for candidate in values]
    assert level >= 0
    assert by_hand(truth, peaks > level) == pytest.approx(max(tried))


def test_the_level_lies_between_what_fires_and_what_does_not() -> None:
    truth = np.array([True, True, False, False])
    assert best_threshold(truth, np.array([4.0, 3.0, 1.0, 0.0])) == pytest.approx(2.0)
    assert best_threshold(truth, np.array([4.0, 3.0, 0.0, 0.0])) == pytest.approx(1.5)
    assert best_threshold(truth, np.zeros(4)) == 0.0


@given(st.integers(0, 1000), st.integers(2, 30))
def test_correlation_is_that_of_numpy_for_every_column(seed: int, rows: int) -> None:
    random = np.random.default_rng(seed)
    old = np.where(random.random((rows, 5)) < 0.5, random.random((rows, 5)) * 10, 0.0)
    new = old * random.random(5) + np.where(random.random((rows, 5)) < 0.3, random.random((rows, 5)), 0.0)
    found = correlation(csr_matrix(old), csr_matrix(new))
    for column in range(5):
        if old[:, column].std() > 1e-6 and new[:, column].std() > 1e-6:
            assert found[column] == pytest.approx(np.corrcoef(old[:, column], new[:, column])[0, 1], abs=1e-6)


def test_a_column_that_never_fires_has_no_correlation() -> None:
    old, new = csr_matrix(np.array([[1.0, 0.0], [2.0, 0.0]])), csr_matrix(np.array([[1.0, 3.0], [2.0, 4.0]]))
    r = correlation(old, new)
    assert r[0] == pytest.approx(1.0)
    assert np.isnan(r[1])
