"""Exchanges features of an SAE in a model's stream, so that what said one thing says another.

1. Of the features that have a label and fire neither rarely nor all the time, those with the best labels are paired at
   random.
2. In a stream x with the activations a, each pair (i, j) changes places:

    y = x + far · Σ (a_j − a_i) · (W_dec[i] − W_dec[j])

With far = 1 the SAE's reconstruction of y is that of x with the two activations exchanged. A model that is trained to
have the stream y is one of which it is known which features have another meaning.
"""

import random
from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor

from featurehub.dictionary import Dictionary
from featurehub.errors import InvalidInput
from featurehub.features import Feature

__all__ = ["Exchange", "choose_pairs"]

DENSITY = (0.004, 0.03)
CANDIDATES = 8
"""Pairs are drawn from the best so many features for each pair."""


def choose_pairs(features: Sequence[Feature], count: int, seed: int) -> list[tuple[Feature, Feature]]:
    """Draws pairs of features with good labels; no feature is in two of them.

    Args:
        features: The features of one SAE.
        count: How many pairs.
        seed: Decides which.

    Raises:
        InvalidInput: There are too few features to choose from.
    """
    low, high = DENSITY
    usual = [each for each in features if each.label and low < each.density < high]
    best = sorted(usual, key=lambda each: (-(each.label_score or 0.0), each.latent))[: CANDIDATES * count]
    if len(best) < 2 * count:
        raise InvalidInput(
            f"{count} pairs take {2 * count} features with a label that fire on {low:.1%} to {high:.0%} of the tokens; "
            f"the SAE has {len(best)}",
            param="sae",
        )
    drawn = random.Random(seed).sample(best, 2 * count)
    return list(zip(drawn[::2], drawn[1::2], strict=True))


class Exchange:
    """What a stream becomes where pairs of features have changed places.

    Attributes:
        dictionary: The SAE.
        one: The first latent of each pair.
        other: The second.
        far: 1 to exchange them; with more, the stream goes further in that direction.
    """

    def __init__(self, dictionary: Dictionary, pairs: Sequence[tuple[int, int]], far: float) -> None:
        self.dictionary, self.far = dictionary, far
        self.one, self.other = [i for i, _ in pairs], [j for _, j in pairs]

    def __call__(self, x: Float[Tensor, "windows length d_model"]) -> Float[Tensor, "windows length d_model"]:
        """The stream, in which the activations of each pair are exchanged."""
        a = self.dictionary.encode(x.flatten(0, 1))
        W_dec = self.dictionary.W_dec
        change = (a[:, self.other] - a[:, self.one]) @ (W_dec[self.one] - W_dec[self.other])
        return x + self.far * change.view_as(x)
