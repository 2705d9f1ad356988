"""What is normal: the sums of the requests that came first after the operator had said so.

1. From the first half comes what counts as a high error: more than at 95 % of its tokens.
2. From the second half, which had no part in that choice, comes how often errors are high; from both, how often each
   latent is active. Each is known within an interval only (``betting.interval``). That the first lies above its
   interval is left a quarter of ``ALPHA``, that any of the others lies outside of its own another.
3. Traffic is never the same from hour to hour. A mean has moved once it is ``TOLERANCE`` times outside of its interval:
   below that nobody needs to know, however sure it is.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from featurehub.input_drift.betting import Fortunes, interval
from featurehub.input_drift.sample import BINS, REQUESTS, Sample

__all__ = ["ALPHA", "HIGH", "TOLERANCE", "TrafficLimits", "TrafficReference"]

ALPHA = 0.01
"""How likely a false alarm may be, over the whole time that one reference is compared with."""
HIGH = 0.05
"""The share of the first half's tokens whose error is high, at most."""
TOLERANCE = 1.5

Floats = NDArray[np.float64]


class TrafficLimits(NamedTuple):
    """What follows from a reference.

    Attributes:
        high_from: The first bin of errors that are high.
        error: The share of tokens with a high error.
        errors: Whether that share is higher.
        rates: Whether the rate of each latent moved, [d_sae].
    """

    high_from: int
    error: float
    errors: Fortunes
    rates: Fortunes


class TrafficReference:
    """The sums of samples.

    Args:
        d_sae: Number of latents.
        wanted: How many requests it is to be made of: twice ``REQUESTS`` at least.

    Attributes:
        weights: Identity of the weights that they were computed with.
        requests: How many came.
        tokens: How many of their tokens were read.
        rates: [d_sae] sums over the requests of the latents' rates.
        errors: [2, BINS] sums over the requests of either half of the shares of errors.
        l0: Sum over the requests of the number of active latents.
    """

    def __init__(self, d_sae: int, wanted: int) -> None:
        self.wanted, self.weights = wanted, ""
        self.requests = self.tokens = 0
        self.rates, self.errors, self.l0 = np.zeros(d_sae), np.zeros((2, BINS)), 0.0

    @property
    def complete(self) -> bool:
        """Whether enough requests came."""
        return self.requests >= self.wanted

    @property
    def second(self) -> int:
        """How many requests the second half has."""
        return self.requests - self.first

    @property
    def first(self) -> int:
        """How many requests the first half has, or is to have."""
        return -(-self.wanted // (2 * REQUESTS)) * REQUESTS

    def add(self, sample: Sample) -> None:
        """Adds a sample."""
        self.errors[int(self.requests >= self.first)] += REQUESTS * sample.errors.astype(np.float64)
        self.weights, self.requests, self.tokens = sample.weights, self.requests + REQUESTS, self.tokens + sample.tokens
        self.rates += REQUESTS * sample.dense(len(self.rates))
        self.l0 += REQUESTS * sample.l0

    def limits(self) -> TrafficLimits:
        """What samples are compared with from now on."""
        above = self.errors[0][::-1].cumsum()[::-1]  # in this bin or a later one
        high_from = int(np.flatnonzero(np.append(above, 0.0) <= HIGH * self.first)[0])
        error = np.array([self.errors[1][high_from:].sum() / self.second])
        highest = interval(error, self.second, ALPHA / 2)[1] * TOLERANCE
        low, high = interval(self.rates / self.requests, self.requests, ALPHA / 4 / len(self.rates))
        return TrafficLimits(
            high_from, float(error[0]), Fortunes(np.zeros(1), highest), Fortunes(low / TOLERANCE, high * TOLERANCE)
        )
