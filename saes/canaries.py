"""The canary set: a few documents on which every live feature fires, kept with the artifact.

Greedy cover: of the documents left, take the one that fires the most features that still lack firings, until
every live feature fires in ``firings`` documents (or in all it has) or the budget of tokens is spent. The same
documents serve every later check, so that old and new are compared on the same tokens and sampling noise cancels.
"""

import numpy as np
from pydantic import Field

from featurehub.settings import Frozen
from saes.activations import FeatureActivations

__all__ = ["CanaryConfig", "choose_canaries"]


class CanaryConfig(Frozen):
    """firings: documents in which each live feature should fire;  max_tokens: size of the set."""

    firings: int = Field(default=12, ge=1)
    max_tokens: int = Field(default=24_000, ge=1)


def choose_canaries(activations: FeatureActivations, config: CanaryConfig) -> list[int]:
    """Indices of the chosen documents, in the order of choice."""
    fires = activations.document_max() > 0
    lengths = np.diff(activations.offsets)
    missing = np.minimum(fires.sum(axis=0), config.firings)
    left = np.ones(len(fires), dtype=bool)
    chosen: list[int] = []
    tokens = 0
    while missing.any():
        gain = np.where(left, fires @ (missing > 0), -1)
        best = int(gain.argmax())
        tokens += int(lengths[best])
        if gain[best] <= 0 or tokens > config.max_tokens:
            break
        chosen.append(best)
        left[best] = False
        missing = np.maximum(missing - fires[best], 0)
    return chosen
