"""How well an SAE reconstructs held-out tokens. All means run over the whole set, never over batches.

    EV   = 1 − E‖x − x̂‖² / (E‖x‖² − ‖E x‖²);  FVU = 1 − EV
    MSE  = E‖x − x̂‖²
    cos  = E[x·x̂ / ‖x‖‖x̂‖]
    bias = E‖x̂‖² / E[x·x̂]        below 1 where x̂ is shorter than fits x best (arXiv 2404.16014, equation 10)
    L0   = E[#{a_i > 0}];  density_i = P(a_i > 0);  dead = share of latents that never fire

sae-lens' evals have the same formulas, except for two: they take the mean of the batches' biases, and leave the cosine
undefined for a token whose x̂ is 0, where ours is 0.
"""

from collections.abc import Iterable

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from featurehub.dictionary import Dictionary
from featurehub.errors import InvalidInput
from featurehub.settings import Frozen

__all__ = ["Evaluator", "Quality", "decades", "evaluate"]


class Quality(Frozen):
    """How well an SAE reconstructs held-out tokens; the module has the formulas.

    Attributes:
        explained_variance: At most 1; 0 is as good as predicting the mean.
        l0: Mean number of active latents per token.
        dead: Share of latents that never fire on these tokens, in [0, 1].
        tokens: How many tokens it was measured on.
        mse: Mean of ‖x − x̂‖² over tokens (the sum over d_model, not its mean).
        cosine_similarity: Mean over tokens, in [-1, 1].
        relative_reconstruction_bias: Below 1 where x̂ is too short; 0 where x̂ is 0 everywhere.
    """

    explained_variance: float
    l0: float
    dead: float
    tokens: int
    mse: float
    cosine_similarity: float
    relative_reconstruction_bias: float

    @property
    def fvu(self) -> float:
        """Fraction of variance unexplained, 1 − ``explained_variance``."""
        return 1.0 - self.explained_variance


class Evaluator:
    """Accumulates, in double precision, the sums that ``Quality`` is made of.

    Attributes:
        dictionary: The SAE that is evaluated.
        tokens: Tokens added so far.
    """

    def __init__(self, dictionary: Dictionary) -> None:
        self.dictionary = dictionary
        self.tokens, self.active = 0, 0
        self.error, self.square, self.square_hat, self.product, self.cosine = 0.0, 0.0, 0.0, 0.0, 0.0
        self.sum = torch.zeros(dictionary.d_model, dtype=torch.float64)
        self.fired = torch.zeros(dictionary.d_sae, dtype=torch.bool)

    def add(self, x: Float[Tensor, "tokens d_model"], a: Float[Tensor, "tokens d_sae"]) -> None:
        """Adds tokens.

        Args:
            x: [tokens, d_model] of the stream.
            a: [tokens, d_sae], the activations that the dictionary encodes ``x`` to.
        """
        x, x_hat = x.double(), self.dictionary.decode(a).double()
        self.tokens += len(x)
        self.error += float((x - x_hat).square().sum())
        self.square += float(x.square().sum())
        self.square_hat += float(x_hat.square().sum())
        self.product += float((x * x_hat).sum())
        self.cosine += float(torch.cosine_similarity(x, x_hat, dim=-1).sum())
        self.sum += x.sum(dim=0)
        self.active += int((a > 0).sum())
        self.fired |= (a > 0).any(dim=0)

    def quality(self) -> Quality:
        """Returns the quality over all tokens added so far.

        Raises:
            InvalidInput: If no token was added.
        """
        if not self.tokens:
            raise InvalidInput("the text holds no ordinary token to measure on", param="text")
        variance = self.square / self.tokens - float((self.sum / self.tokens).square().sum())
        return Quality(
            explained_variance=1.0 - self.error / self.tokens / variance,
            l0=self.active / self.tokens,
            dead=1.0 - float(self.fired.double().mean()),
            tokens=self.tokens,
            mse=self.error / self.tokens,
            cosine_similarity=self.cosine / self.tokens,
            relative_reconstruction_bias=self.square_hat / self.product if self.square_hat else 0.0,
        )


def evaluate(dictionary: Dictionary, streams: Iterable[Float[Tensor, "_ d_model"]]) -> Quality:
    """Measures an SAE over all tokens of all streams.

    Args:
        dictionary: The SAE.
        streams: Tensors of [tokens, d_model], of any lengths.

    Raises:
        InvalidInput: If there is no token.
    """
    evaluation = Evaluator(dictionary)
    for x in streams:
        evaluation.add(x, dictionary.encode(x))
    return evaluation.quality()


def decades(density: np.ndarray) -> dict[int, float]:
    """Returns a histogram of log10 densities: e ↦ the share of all latents with a density from 10^e to 10^(e + 1).

    Dead latents are in none of the bins; latents that always fire are in the last one, -1.

    Args:
        density: [d_sae] share of tokens on which each latent fires, in [0, 1].
    """
    exponents = np.floor(np.log10(density[density > 0])).astype(int).clip(max=-1)
    found, counts = np.unique(exponents, return_counts=True)
    return {int(e): int(n) / len(density) for e, n in zip(found, counts, strict=True)}
