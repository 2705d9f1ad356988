"""How well a transcoder stands in for the MLPs, on held-out tokens. As in ``saes.evaluate``, but for each layer:

EV   = 1 − E‖y − ŷ‖² / (E‖y‖² − ‖E y‖²)     over the whole set; 0 is as good as predicting the mean
L0   = E[#{a_i > 0}]                          of the latents that read at the layer
dead = share of these latents that never fire
"""

from collections.abc import Iterable

import torch
from torch import Tensor

from featurehub.settings import Frozen
from saes.transcoders.pairs import LayerStreams, Pairs
from saes.transcoders.transcoder import Transcoder

__all__ = ["TranscoderQuality", "evaluate_transcoder", "explained_variance"]


class TranscoderQuality(Frozen):
    """How well a transcoder stands in for the MLPs on held-out tokens, with one number per layer in the model's order.

    Attributes:
        explained_variance: At most 1; 0 is as good as predicting the mean.
        l0: Mean number of active latents per token, of those that read at the layer.
        dead: Share of these latents that never fire, in [0, 1].
        tokens: How many tokens it was measured on.
    """

    explained_variance: tuple[float, ...]
    l0: tuple[float, ...]
    dead: tuple[float, ...]
    tokens: int


class Variance:
    """Accumulates, in double precision, the sums that EV is made of."""

    def __init__(self) -> None:
        self.tokens, self.error, self.square, self.sum = 0, torch.zeros(()), torch.zeros(()), torch.zeros(())

    def add(self, y: LayerStreams, guess: LayerStreams) -> None:
        self.tokens += len(y)
        self.error = self.error + (y - guess).double().square().sum(dim=(0, 2))
        self.square = self.square + y.double().square().sum(dim=(0, 2))
        self.sum = self.sum + y.double().sum(dim=0)

    def explained(self) -> tuple[float, ...]:
        variance = self.square / self.tokens - (self.sum / self.tokens).square().sum(dim=-1)
        return tuple((1.0 - self.error / self.tokens / variance).tolist())


def explained_variance(batches: Iterable[tuple[Tensor, Tensor]]) -> tuple[float, ...]:
    """Returns the explained variance of each layer.

    Args:
        batches: Pairs of y and the guess at it, both [tokens, layers, d_model].
    """
    variance = Variance()
    for y, guess in batches:
        variance.add(y, guess)
    return variance.explained()


def evaluate_transcoder(transcoder: Transcoder, batches: Iterable[Pairs]) -> TranscoderQuality:
    """Measures a transcoder over all tokens of all batches.

    Args:
        transcoder: The transcoder.
        batches: Held-out pairs, unscaled.
    """
    variance, active, fired = Variance(), torch.zeros(transcoder.layers), torch.zeros_like(transcoder.b_enc) > 0
    for x, y in batches:
        a = transcoder.encode(x)
        variance.add(y, transcoder.decode(a))
        active = active + (a > 0).sum(dim=(0, 2))
        fired = fired | (a > 0).any(dim=0)
    return TranscoderQuality(
        explained_variance=variance.explained(),
        l0=tuple((active / variance.tokens).tolist()),
        dead=tuple((1.0 - fired.double().mean(dim=1)).tolist()),
        tokens=variance.tokens,
    )
