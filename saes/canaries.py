"""The canary set: a few hundred documents on which every live feature fires, kept with the artifact.

1. Cover: of the documents left, take the one that fires the most features that still lack firings, until every live
   feature fires in ``firings`` documents (or in all it has).
2. Fill: what is left of the budget of tokens goes to the other documents in their order. A verdict on a label rests on
   how many documents show it, and what the cover takes is not how the documents are distributed.

The same documents serve every later check, so that old and new are compared on the same tokens and sampling noise
cancels.
"""

import numpy as np
from pydantic import Field

from featurehub.settings import Frozen
from saes.activations import FeatureActivations

__all__ = ["CanaryConfig", "choose_canaries"]


class CanaryConfig(Frozen):
    """How canaries are chosen.

    Attributes:
        firings: Number of documents in which each live feature should fire.
        max_tokens: Most tokens of the whole set.
    """

    firings: int = Field(default=12, ge=1)
    max_tokens: int = Field(default=48_000, ge=1)


def choose_canaries(activations: FeatureActivations, config: CanaryConfig) -> list[int]:
    """Returns the indices of the chosen documents, in the order of choice.

    Args:
        activations: What the features do on all documents to choose from.
        config: How to choose.
    """
    lengths = np.diff(activations.offsets)
    chosen = cover(activations.document_max() > 0, lengths, config)
    left = config.max_tokens - int(lengths[chosen].sum())
    for i in sorted(set(range(len(lengths))) - set(chosen)):
        if lengths[i] > left:
            break
        chosen.append(i)
        left -= int(lengths[i])
    return chosen


def cover(fires: np.ndarray, lengths: np.ndarray, config: CanaryConfig) -> list[int]:
    """Step 1.

    Args:
        fires: [documents, d_sae] whether a feature fires in a document.
        lengths: [documents] number of tokens.
        config: How to choose.
    """
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
