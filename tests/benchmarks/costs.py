"""Two lengths give two costs: what each decoding step takes, and what a request takes besides.

A batch of n requests that generate L tokens each takes n · request + (L − 1) · step seconds, since the prompt's own
step gives the first token. The median of the rounds counts: a round gives a line of its own, and what slowed the
machine for a while spoils a few of them.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

__all__ = ["Costs", "Middle"]

NORMAL = np.sqrt(np.pi / 2) / (2 * 0.67449)
"""The standard error of a normal sample's median, as a multiple of (upper − lower quartile) / √n."""


class Middle(NamedTuple):
    """The median of some figures, with the quartiles around it."""

    low: float
    value: float
    high: float
    figures: int

    @classmethod
    def of(cls, figures: Sequence[float] | np.ndarray) -> "Middle":
        low, value, high = np.quantile(np.asarray(figures, float), [0.25, 0.5, 0.75])
        return cls(float(low), float(value), float(high), len(figures))

    @property
    def error(self) -> float:
        """The standard error of the median, from the quartiles, so that a few wild figures do not count.

        Nan for a single figure. Quartiles of few figures lie too close together; the last factor widens them.
        """
        if self.figures < 2:
            return float("nan")
        n = self.figures
        return float(NORMAL * (self.high - self.low) / np.sqrt(n) * np.sqrt((n + 1) / (n - 1)))

    def __str__(self) -> str:
        return f"{self.value:.3f} ({self.low:.3f} to {self.high:.3f})"


class Costs(NamedTuple):
    """Seconds, each of every round.

    step: of a decoding step of the whole batch, [rounds];  request: of all else, for each request: its prompt, its
    coming and going, its report, [rounds]
    """

    step: np.ndarray
    request: np.ndarray

    @classmethod
    def of(cls, seconds: Sequence[Sequence[float]], lengths: tuple[int, int], batch: int) -> "Costs":
        """seconds: of a batch of requests of either length, [rounds, 2];  lengths: the generated tokens, different"""
        short, long = lengths
        if not 1 <= short < long:
            raise ValueError(f"the lengths are {short} and {long} tokens: give two that rise, the first at least 1")
        first, second = np.asarray(seconds, float).T
        step = (second - first) / (long - short)
        return cls(step, (first - (short - 1) * step) / batch)

    def over(self, base: "Costs") -> "Costs":
        """As multiples of the baseline's of the same round."""
        return Costs(self.step / base.step, self.request / base.request)
