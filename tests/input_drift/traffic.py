"""Made-up traffic: requests with a topic each, whose tokens activate latents and have errors."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from featurehub.input_drift.sample import BINS, REQUESTS, Sample

D_SAE, TOPICS, TOKENS = 96, 8, 16


class Traffic:
    """Where samples come from. A topic has latents of its own; requests differ in how much they use those of theirs.

    Args:
        seed: Of what is drawn.
        topics: [TOPICS] how likely each topic is.
        strange: The share of requests that the SAE cannot express: half of their tokens have a high error.
    """

    def __init__(self, seed: int, topics: NDArray[np.float64] | None = None, strange: float = 0.0) -> None:
        self.random = np.random.default_rng(seed)
        self.topics = np.full(TOPICS, 1 / TOPICS) if topics is None else topics
        self.strange = strange
        own = np.arange(D_SAE)[None] * TOPICS // D_SAE == np.arange(TOPICS)[:, None]
        spread = np.geomspace(0.3, 0.003, D_SAE // TOPICS)
        self.rates = np.where(own, np.tile(spread, TOPICS), 0.002)

    def sample(self, weights: str = "w") -> Sample:
        """The next sixteen requests."""
        random, topic = self.random, self.random.choice(TOPICS, REQUESTS, p=self.topics)
        rates = np.clip(self.rates[topic] * random.gamma(4, 1 / 4, (REQUESTS, 1)), 0, 1)
        shares = random.binomial(TOKENS, rates) / TOKENS
        strange = (random.random(REQUESTS) < self.strange)[:, None] & (random.random((REQUESTS, TOKENS)) < 0.5)
        bins = np.where(strange, BINS - 2, np.clip(random.normal(30, 6, (REQUESTS, TOKENS)), 0, BINS - 3)).astype(int)
        errors = np.bincount(bins.ravel(), minlength=BINS) / bins.size
        means = shares.mean(0)
        active = np.flatnonzero(means)
        return Sample(
            "sae", weights, REQUESTS * TOKENS, active.astype(np.int32), means[active].astype(np.float32),
            errors.astype(np.float32), float(means.sum()),
        )  # fmt: skip

    def samples(self, count: int) -> Iterator[Sample]:
        """The next samples."""
        return (self.sample() for _ in range(count))


def shifted(share: float) -> NDArray[np.float64]:
    """Topics of which the first gained so much from all others."""
    topics = np.full(TOPICS, (1 - share) / TOPICS)
    topics[0] += share
    return topics
