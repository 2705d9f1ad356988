"""Which documents a check reads where its budget does not cover all of them: those of the most used features first.

1. The features come one after the other, the most used first. Each adds documents in which it fires until it has
   ``needed`` of them, or all that there are.
2. A document that costs more than what is left is passed over.
3. A feature is *covered* if it has as many as it should have. Of others a check says nothing.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

__all__ = ["Allowance", "Selection", "select"]


class Allowance(NamedTuple):
    """How much a check may cost, and what a token costs, all in one unit: tokens, or seconds.

    Attributes:
        total: Of everything; infinite without a budget.
        reading: A token of a canary, which is read.
        answering: A token of a prompt or of its answer, which is generated and then read.
    """

    total: float
    reading: float = 1.0
    answering: float = 2.0


class Selection(NamedTuple):
    """Some of the documents.

    Attributes:
        documents: Their indices, ascending.
        covered: [d_sae] whether a latent has as many as it should have.
        cost: What they cost.
    """

    documents: list[int]
    covered: np.ndarray
    cost: float

    @property
    def is_whole(self) -> bool:
        """Whether no latent lacks any document."""
        return bool(self.covered.all())


def select(fires: np.ndarray, costs: np.ndarray, order: Sequence[int], needed: int, allowed: float) -> Selection:
    """Chooses documents.

    Args:
        fires: [documents, d_sae] whether a latent fires in a document.
        costs: [documents] what each costs.
        order: Latents, the most used first.
        needed: In how many documents each should fire.
        allowed: What all may cost together.
    """
    everything = np.ones(fires.shape[1], dtype=bool)
    if costs.sum() <= allowed:
        return Selection(list(range(len(costs))), everything, float(costs.sum()))
    chosen, left = np.zeros(len(costs), dtype=bool), allowed
    for latent in order:
        for i in np.flatnonzero(fires[:, latent] & ~chosen):
            if (fires[chosen, latent]).sum() >= needed:
                break
            if costs[i] <= left:
                chosen[i] = True
                left -= costs[i]
    has = fires[chosen].sum(axis=0)
    covered = has >= np.minimum(fires.sum(axis=0), needed)
    return Selection(np.flatnonzero(chosen).tolist(), covered & bool(chosen.any()), float(costs[chosen].sum()))
