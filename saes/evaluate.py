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

__all__ = ["Evaluation", "Quality", "evaluate"]


class Quality(Frozen):
    """explained_variance ≤ 1;  l0 ≥ 0;  dead in [0, 1];  tokens: how many they were measured on."""

    explained_variance: float
    l0: float
    dead: float
    tokens: int


class Evaluation:
    """Adds up, over all tokens that it is given, what ``Quality`` is made of; in double precision."""

    def __init__(self, dictionary: Dictionary) -> None:
        self.dictionary = dictionary
        self.tokens, self.error, self.square, self.active = 0, 0.0, 0.0, 0
        self.sum = torch.zeros(dictionary.d_model, dtype=torch.float64)
        self.fired = torch.zeros(dictionary.d_sae, dtype=torch.bool)

    def add(self, x: Tensor, a: Tensor) -> None:
        """x: the stream, [tokens, d_model];  a: what the dictionary encodes it to, [tokens, d_sae]"""
        self.tokens += len(x)
        self.error += float((x - self.dictionary.decode(a)).double().square().sum())
        self.square += float(x.double().square().sum())
        self.sum += x.double().sum(dim=0)
        self.active += int((a > 0).sum())
        self.fired |= (a > 0).any(dim=0)

    def quality(self) -> Quality:
        variance = self.square / self.tokens - float((self.sum / self.tokens).square().sum())
        return Quality(
            explained_variance=1.0 - self.error / self.tokens / variance,
            l0=self.active / self.tokens,
            dead=1.0 - float(self.fired.double().mean()),
            tokens=self.tokens,
        )


def evaluate(dictionary: Dictionary, streams: Iterable[Tensor]) -> Quality:
    """Over all tokens of all ``streams`` ([tokens, d_model] each)."""
    evaluation = Evaluation(dictionary)
    for x in streams:
        evaluation.add(x, dictionary.encode(x))
    return evaluation.quality()
