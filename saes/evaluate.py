"""How well an SAE reconstructs held-out tokens.

EV   = 1 − E‖x − x̂‖² / (E‖x‖² − ‖E x‖²)     over the whole set, not averaged per batch
L0   = E[#{a_i > 0}]
dead = share of latents that never fire
"""

from collections.abc import Iterable

import torch
from torch import Tensor

from featurehub.dictionary import Dictionary
from featurehub.settings import Frozen

__all__ = ["Quality", "evaluate"]


class Quality(Frozen):
    """explained_variance ≤ 1;  l0 ≥ 0;  dead in [0, 1];  tokens: how many they were measured on."""

    explained_variance: float
    l0: float
    dead: float
    tokens: int


def evaluate(dictionary: Dictionary, streams: Iterable[Tensor]) -> Quality:
    """Over all tokens of all ``streams`` ([tokens, d_model] each), in double precision."""
    tokens, error, square, active = 0, 0.0, 0.0, 0
    mean = torch.zeros(dictionary.d_model, dtype=torch.float64)
    fired = torch.zeros(dictionary.d_sae, dtype=torch.bool)
    for x in streams:
        a = dictionary.encode(x)
        tokens += len(x)
        error += float((x - dictionary.decode(a)).double().square().sum())
        square += float(x.double().square().sum())
        mean += x.double().sum(dim=0)
        active += int((a > 0).sum())
        fired |= (a > 0).any(dim=0)
    variance = square / tokens - float((mean / tokens).square().sum())
    return Quality(
        explained_variance=1.0 - error / tokens / variance,
        l0=active / tokens,
        dead=1.0 - float(fired.double().mean()),
        tokens=tokens,
    )
