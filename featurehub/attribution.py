"""Which features made a token likely: what the server answers and the SDK returns."""

from featurehub.settings import Frozen

__all__ = ["CANDIDATES_MAX", "PARTS_MAX", "AttributedFeature", "AttributedToken"]

CANDIDATES_MAX = 256
"""Most features that are ablated for one request."""
PARTS_MAX = 512
"""Most ablations at single tokens for one request."""


class AttributedToken(Frozen):
    """A token at which a feature is active.

    Attributes:
        position: Its index in what was read.
        text: The text that it adds.
        activation: The feature's activation there.
        effect: How much of what is explained is lost where the feature is ablated at this token alone, in nats. With
            several tokens these numbers need not add up to the feature's own.
    """

    position: int
    text: str
    activation: float
    effect: float


class AttributedFeature(Frozen):
    """A feature, and what it did for a token.

    Attributes:
        id: The feature's id, or ``sae:<artifact>/<latent>`` for a latent without a label.
        label: Its label; "" where it has none.
        sae: Id of its SAE.
        effect: How much of what is explained is lost where the feature is ablated at every token, in nats: above 0 it
            made the token likely, below 0 it held it back. It is measured.
        score: By what it was chosen to be measured: the largest of its activations, each divided by the distance of its
            token from the one that is explained.
        tokens: The tokens at which it is active, by the same score, that were measured by themselves.
    """

    id: str
    label: str
    sae: str
    effect: float
    score: float
    tokens: tuple[AttributedToken, ...]
