"""How sure a score is that was measured on few texts.

Wilson's interval of a share p = k / n, with z the quantile of the confidence (1927):

    (p + z²/2n ± z √(p (1 − p) / n + z²/4n²)) / (1 + z²/n)

The balanced accuracy is the mean of two shares. Its interval combines theirs, (l, u) each, by the method of variance
estimates recovery (Newcombe 1998; Zou and Donner 2008):

    low = b − ½ √(Σ (p_i − l_i)²),   high = b + ½ √(Σ (u_i − p_i)²)
"""

import math
from typing import NamedTuple

import numpy as np

__all__ = ["Interval", "auroc_interval", "balanced_accuracy", "wilson"]

Z = 1.96
"""95 %."""
DRAWS = 1000


class Interval(NamedTuple):
    """A measured value and its 95 % interval."""

    value: float
    low: float
    high: float


def wilson(hits: int, total: int) -> Interval:
    """A share with its interval; nothing is known where ``total`` is 0."""
    if not total:
        return Interval(math.nan, 0.0, 1.0)
    p, square = hits / total, Z**2 / total
    middle, half = p + square / 2, Z * math.sqrt(p * (1 - p) / total + square / (4 * total))
    return Interval(p, max(0.0, (middle - half) / (1 + square)), min(1.0, (middle + half) / (1 + square)))


def balanced_accuracy(said: np.ndarray, truth: np.ndarray) -> Interval:
    """The balanced accuracy of a yes or no, with its interval.

    Args:
        said: [texts] bool.
        truth: [texts] bool; both values occur.
    """
    hit = wilson(int((said & truth).sum()), int(truth.sum()))
    missed = wilson(int((~said & ~truth).sum()), int((~truth).sum()))
    value = (hit.value + missed.value) / 2
    below = math.hypot(hit.value - hit.low, missed.value - missed.low) / 2
    above = math.hypot(hit.high - hit.value, missed.high - missed.value) / 2
    return Interval(value, max(0.0, value - below), min(1.0, value + above))


def auroc_interval(scores: np.ndarray, truth: np.ndarray, seed: int = 0) -> Interval:
    """The AUROC with its bootstrap interval: texts that fire and others are drawn again, each kind apart.

    Args:
        scores: [texts]
        truth: [texts] bool; both values occur.
        seed: Seed of the draws.
    """
    random, firing, others = np.random.default_rng(seed), scores[truth], scores[~truth]
    wins = (firing[:, None] > others) + 0.5 * (firing[:, None] == others)
    # How often each text is drawn; the mean of the wins of what was drawn is its AUROC.
    first, second = (random.multinomial(n, np.full(n, 1 / n), DRAWS) / n for n in wins.shape)
    low, high = np.quantile(((first @ wins) * second).sum(axis=1), [0.025, 0.975])
    return Interval(float(wins.mean()), float(low), float(high))
