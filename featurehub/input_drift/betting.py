"""Means of bounded numbers, tested so that one may look after every number, and for as long as one likes.

Numbers x_1, x_2, ... in [0, 1] come one after the other. As long as their mean, given those before, stays in
[low, high], an *e-process* is not likely ever to become large: by Ville's inequality it reaches 1/α with a probability
of at most α, however often it is looked at. It is the fortune of somebody who bets against the mean's staying there
(Waudby-Smith and Ramdas 2024, "Estimating means of bounded random variables by betting"; Shafer and Vovk 2019).

1. A bet on "higher" multiplies what is staked by 1 + λ(x − high), one on "lower" by 1 − λ(x − low). Neither is expected
   to gain while the mean stays in [low, high]. λ is such that nothing ever falls below 0: c/high, and c/(1 − low).
2. Nobody knows how far the mean will go, so that an equal part of the fortune is staked with each c of ``PACES``.
3. Nobody knows when either. Of the fortune, 1/(1 + ln(1 + t)) is not staked yet after t numbers: before each number a
   little more is. What is staked late has lost nothing to the numbers before, so that a change after a million of them
   is seen about as fast as one after a thousand (the mixture over times of change of Shiryaev and Roberts; Shin, Ramdas
   and Rinaldo 2023, "E-detectors").
4. Where low is 0 all of it is bet on "higher", else half of it.
5. The mean of many e-processes is one too, be they dependent or not. Which of them moved is told by e-BH: of F, those
   with the k largest values, for the largest k such that the k-th is at least F/(kα). Of these, a share of at most α
   is expected to be wrong (Wang and Ramdas 2022, "False discovery rate control with e-values").

Where the interval comes from is the bound of Chernoff on the mean of n independent numbers in [0, 1], which holds
whatever their distribution: n · kl(their mean, μ) < ln(1/α) (``interval``).
"""

import math

import numpy as np
from numpy.typing import NDArray

__all__ = ["PACES", "Fortunes", "discoveries", "interval"]

PACES = np.array([0.03, 0.1, 0.3, 0.9])
"""The c of step 2."""
LARGEST = 1e100
"""A fortune does not grow beyond this; less than one has is never too much."""
HALVINGS = 50

Floats = NDArray[np.float64]
Indices = NDArray[np.int64]


def unstaked(t: int) -> float:
    """Which part of the fortune is not staked yet after t numbers."""
    return 1 / (1 + math.log1p(t))


class Fortunes:
    """An e-process for each of F means.

    Args:
        low: [F] the lowest that each mean may be, in [0, 1).
        high: [F] the highest, above 0.

    Attributes:
        seen: How many numbers came.
        staked: [2, paces, F] what has become of what was staked on "higher", and on "lower".
    """

    def __init__(self, low: Floats, high: Floats) -> None:
        self.low, self.high = low, high
        self.seen = 0
        self.staked = np.zeros((2, len(PACES), len(low)))

    def see(self, x: Floats) -> None:
        """Bets on the next number of each: [F], in [0, 1]."""
        self.staked += unstaked(self.seen) - unstaked(self.seen + 1)
        self.seen += 1
        higher, lower = (x - self.high) / self.high, (x - self.low) / (1 - self.low)
        self.staked[0] *= 1 + PACES[:, None] * higher
        self.staked[1] *= 1 - PACES[:, None] * lower
        np.minimum(self.staked, LARGEST, out=self.staked)

    @property
    def values(self) -> Floats:
        """[F] the e-processes now: 1 before the first number."""
        higher, lower = self.staked.mean(1)
        return unstaked(self.seen) + np.where(self.low > 0, (higher + lower) / 2, higher)


def discoveries(values: Floats, alpha: float) -> Indices:
    """Which of many e-processes say that a mean moved, by e-BH: their indices, the largest first.

    Args:
        values: [F] the e-processes.
        alpha: The share of the discoveries that may be wrong, in (0, 1).
    """
    order = np.argsort(-values, kind="stable")
    enough = np.flatnonzero(values[order] * np.arange(1, len(values) + 1) * alpha >= len(values))
    return order[: enough[-1] + 1 if len(enough) else 0]


def divergence(p: Floats, q: Floats) -> Floats:
    """kl(p, q) of two coins, in nats; q in (0, 1)."""
    with np.errstate(divide="ignore", invalid="ignore"):
        one = np.where(p > 0, p * np.log(p / q), 0.0)
        other = np.where(p < 1, (1 - p) * np.log((1 - p) / (1 - q)), 0.0)
    return one + other


def interval(means: Floats, n: int, alpha: float) -> tuple[Floats, Floats]:
    """Where the true means lie, each within its interval but with a probability of at most α.

    Args:
        means: [F] of n independent numbers in [0, 1] each.
        n: How many they are of.
        alpha: Half of it for either side.

    Returns:
        The lower and the upper ends, [F] each.
    """
    most = math.log(2 / alpha) / n
    ends = []
    for far in (np.zeros_like(means), np.ones_like(means)):
        inside, outside = means.copy(), far
        for _ in range(HALVINGS):
            middle = (inside + outside) / 2
            close = divergence(means, np.clip(middle, 1e-15, 1 - 1e-15)) < most
            inside, outside = np.where(close, middle, inside), np.where(close, outside, middle)
        ends.append(outside)
    return ends[0], ends[1]
