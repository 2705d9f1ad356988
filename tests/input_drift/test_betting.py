"""Bets on means: their naive twin, and how often they are wrong where nothing changes."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from featurehub.input_drift.betting import PACES, Fortunes, discoveries, interval, unstaked


def naive(low: float, high: float, numbers: list[float]) -> float:
    """The fortune after these numbers: bet by bet, a purse for each moment at which something was staked."""
    fortune = unstaked(len(numbers))
    for start in range(len(numbers)):
        stake = unstaked(start) - unstaked(start + 1)
        for pace in PACES:
            higher = math.prod(1 + pace / high * (x - high) for x in numbers[start:])
            lower = math.prod(1 - pace / (1 - low) * (x - low) for x in numbers[start:])
            fortune += stake / len(PACES) * (higher if low == 0 else (higher + lower) / 2)
    return fortune


@given(numbers=st.lists(st.floats(0, 1), max_size=12), low=st.sampled_from([0.0, 0.01, 0.4]), high=st.floats(0.45, 0.9))
def test_fortunes_are_those_of_every_purse_bet_alone(numbers: list[float], low: float, high: float) -> None:
    fortunes = Fortunes(np.array([low, 0.0]), np.array([high, high]))
    assert fortunes.values.tolist() == [1.0, 1.0]
    for x in numbers:
        fortunes.see(np.array([x, x]))
    expected = [naive(low, high, numbers), naive(0.0, high, numbers)]
    np.testing.assert_allclose(fortunes.values, expected, rtol=1e-9)


@pytest.mark.parametrize("mean", [0.004, 0.1, 0.5])
def test_no_bet_is_expected_to_gain_at_the_ends_of_the_interval(mean: float) -> None:
    """Over a coin with the mean of either end, one more number leaves the expected fortune as it is, or lower."""
    fortunes = Fortunes(np.array([mean]), np.array([mean]))
    generator = np.random.default_rng(0)
    for _ in range(20):
        fortunes.see((generator.random(1) < mean).astype(float))
    now, outcomes = fortunes.values[0], []
    for x in (1.0, 0.0):
        after = Fortunes(fortunes.low, fortunes.high)
        after.seen, after.staked = fortunes.seen, fortunes.staked.copy()
        after.see(np.array([x]))
        outcomes.append(after.values[0])
    assert mean * outcomes[0] + (1 - mean) * outcomes[1] == pytest.approx(now)


def test_without_a_change_a_fortune_hardly_ever_reaches_what_an_alarm_needs() -> None:
    """At the very end of the interval, where it is hardest; 3,000 numbers, looked at after each."""
    generator, alpha = np.random.default_rng(1), 0.05
    means = np.full(2000, 0.05)
    fortunes = Fortunes(means, means)
    highest = np.ones(len(means))
    for _ in range(3000):
        fortunes.see(generator.binomial(16, 0.05, len(means)) / 16)
        highest = np.maximum(highest, fortunes.values)
    assert np.mean(highest >= 1 / alpha) <= alpha


@pytest.mark.parametrize("before", [0, 2000])
def test_a_change_is_seen_about_as_fast_after_a_long_time_as_at_once(before: int) -> None:
    generator = np.random.default_rng(2)
    fortunes = Fortunes(np.array([0.02]), np.array([0.08]))
    for _ in range(before):
        fortunes.see(generator.binomial(16, 0.05, 1) / 16)
    taken = 0
    while fortunes.values[0] < 400 and taken < 1000:
        fortunes.see(generator.binomial(16, 0.25, 1) / 16)
        taken += 1
    assert taken <= (25 if before else 12)


def test_intervals_hold_the_true_mean_and_are_no_wider_than_the_bound() -> None:
    generator, n, alpha = np.random.default_rng(3), 512, 0.05
    true = np.repeat([0.0, 0.001, 0.05, 0.5, 1.0], 400)
    means = generator.binomial(n, true) / n
    low, high = interval(means, n, alpha)
    missed = (true < low) | (true > high)
    assert missed.mean() <= alpha
    assert ((low <= means) & (means <= high)).all()
    # Hoeffding's bound is wider everywhere.
    assert (np.maximum(high - means, means - low) <= math.sqrt(math.log(2 / alpha) / 2 / n) + 1e-9).all()
    assert high[means == 0][0] == pytest.approx(1 - (alpha / 2) ** (1 / n), rel=1e-6)


def test_discoveries_are_those_of_e_bh() -> None:
    values = np.array([1.0, 500.0, 30.0, 90.0, 0.0])
    # 5 / (1 · .05) = 100, 5 / (2 · .05) = 50, 5 / (3 · .05) = 33.3
    assert discoveries(values, 0.05).tolist() == [1, 3]
    assert discoveries(values, 0.2).tolist() == [1, 3, 2]
    assert discoveries(np.array([1.0, 2.0]), 0.05).tolist() == []
