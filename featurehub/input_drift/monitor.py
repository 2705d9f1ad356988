"""Watches one SAE: first it learns what is normal, then it tests every sample against that.

1. The first samples are the ``TrafficReference``. Then each is tested (``betting.Fortunes``), whose alarm comes falsely
   with a probability of at most ``ALPHA`` in all, however long the server runs: a quarter each is left to the
   reference's two intervals, to the evidence on errors and to that on rates.
2. More tokens than before have a high error: the traffic is *outside* of what the SAE can express.
3. Latents are active at other rates, and that is not so: other *topics* than before. The evidence is the mean of that
   on each latent; e-BH says which of them moved.
4. Other weights compute the stream than did the reference's: the *model* changed. Nothing is tested then, since nothing
   would tell its change from the traffic's. With the old weights back it goes on.

An alarm stays until the operator has a new reference taken. One about topics becomes one about what is outside if that
shows later.
"""

from enum import StrEnum
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from featurehub.input_drift.betting import discoveries
from featurehub.input_drift.reference import ALPHA, TrafficLimits, TrafficReference
from featurehub.input_drift.sample import REQUESTS, Sample

__all__ = ["ENOUGH", "Monitor", "Moved", "Recent", "TrafficState"]

ENOUGH = 4 / ALPHA
"""Evidence that is an alarm."""
WRONG = 0.05
"""The share of the latents said to have moved that may not have."""
LATELY = 16
"""How many samples the recent means are about over."""


class TrafficState(StrEnum):
    """What a monitor says.

    Attributes:
        LEARNING: It learns what is normal.
        NORMAL: Nothing moved that could be seen.
        TOPICS: Latents are active at other rates, and the SAE reconstructs as well as before.
        OUTSIDE: The SAE reconstructs worse.
        MODEL: The model's weights are others.
    """

    LEARNING = "learning"
    NORMAL = "normal"
    TOPICS = "topics"
    OUTSIDE = "outside"
    MODEL = "model"


class Moved(NamedTuple):
    """A latent that is active at another rate.

    Attributes:
        latent: Its index.
        before: The share of tokens at which it was active in the reference.
        now: The same of the last samples.
        evidence: That it moved: its e-process.
    """

    latent: int
    before: float
    now: float
    evidence: float


class Recent:
    """Means over about the last ``LATELY`` samples.

    Attributes:
        samples: How many came.
        error: Share of tokens with a high error.
        l0: Number of active latents.
        rates: [d_sae] the latents' rates.
    """

    def __init__(self, d_sae: int) -> None:
        self.samples, self.error, self.l0, self.rates = 0, 0.0, 0.0, np.zeros(d_sae)

    def add(self, error: float, l0: float, rates: NDArray[np.float64]) -> None:
        """Adds a sample."""
        self.samples += 1
        part = 1 / min(self.samples, LATELY)
        self.error += part * (error - self.error)
        self.l0 += part * (l0 - self.l0)
        self.rates += part * (rates - self.rates)


class Monitor:
    """Watches one SAE, as the module describes.

    Args:
        d_sae: Number of its latents.
        wanted: How many requests the reference is made of.

    Attributes:
        reference: What is normal.
        limits: What samples are compared with, once the reference is complete.
        recent: Means of the last samples.
        found: What it says now.
        alarm: The last of ``TOPICS`` and ``OUTSIDE`` that it said; None before.
        since: When it began to say that, as whoever watches says.
        requests: How many came since the reference was complete, with its weights.
        tokens: How many of their tokens were read.
    """

    def __init__(self, d_sae: int, wanted: int) -> None:
        self.reference, self.recent = TrafficReference(d_sae, wanted), Recent(d_sae)
        self.limits: TrafficLimits | None = None
        self.found, self.since = TrafficState.LEARNING, ""
        self.alarm: TrafficState | None = None
        self.requests = self.tokens = 0

    def see(self, sample: Sample) -> TrafficState:
        """Takes a sample; returns what it says then."""
        if self.reference.requests and sample.weights != self.reference.weights:
            self.found = TrafficState.MODEL
        elif self.limits is None:
            self.learn(sample)
        else:
            self.test(sample, self.limits)
        return self.found

    def learn(self, sample: Sample) -> None:
        """Step 1."""
        self.reference.add(sample)
        self.found = TrafficState.LEARNING
        if self.reference.complete:
            self.limits, self.found = self.reference.limits(), TrafficState.NORMAL

    def test(self, sample: Sample, limits: TrafficLimits) -> None:
        """Steps 2 and 3."""
        error, rates = float(sample.errors[limits.high_from :].sum()), sample.dense(len(self.recent.rates))
        limits.errors.see(np.array([error]))
        limits.rates.see(rates)
        self.recent.add(error, sample.l0, rates)
        self.requests, self.tokens = self.requests + REQUESTS, self.tokens + sample.tokens
        if limits.errors.values[0] >= ENOUGH:
            self.alarm = TrafficState.OUTSIDE
        elif self.alarm is None and limits.rates.values.mean() >= ENOUGH:
            self.alarm = TrafficState.TOPICS
        self.found = self.alarm or TrafficState.NORMAL

    @property
    def evidence(self) -> tuple[float, float]:
        """That errors are higher, and that rates moved; ``ENOUGH`` is an alarm."""
        if self.limits is None:
            return 1.0, 1.0
        return float(self.limits.errors.values[0]), float(self.limits.rates.values.mean())

    def moved(self, most: int) -> list[Moved]:
        """The latents that moved, those with the most evidence first."""
        if self.limits is None:
            return []
        values, before = self.limits.rates.values, self.reference.rates / self.reference.requests
        found = discoveries(values, WRONG)[:most].tolist()
        return [Moved(k, float(before[k]), float(self.recent.rates[k]), float(values[k])) for k in found]
