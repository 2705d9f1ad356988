"""What features do in whole chats: rows of ``inspect`` and ``contrast`` that the server answers and the SDK returns."""

from featurehub.settings import Frozen

__all__ = ["ContrastRow", "TotalActivation"]


class TotalActivation(Frozen):
    """What a feature does in the whole content of a chat or text.

    >>> loan = client.features.inspect("my loan").top(1)[0]
    >>> loan.label, loan.frequency, loan.max
    ('banking: loan, deposit', 0.5, 1.0)

    Attributes:
        id: The feature's id, or ``sae:<artifact>/<latent>`` for a latent without a label.
        label: Its label; "" where it has none.
        sae: Id of its SAE.
        frequency: Share of the tokens on which it is active, in (0, 1].
        mean: Mean of its activations over all tokens.
        max: Its largest activation.
        sum: Sum of its activations.
    """

    id: str
    label: str
    sae: str
    frequency: float
    mean: float
    max: float
    sum: float


class ContrastRow(Frozen):
    """A feature that tells two sets of chats apart.

    Attributes:
        id: The feature's id, or ``sae:<artifact>/<latent>`` for a latent without a label.
        label: Its label; "" where it has none.
        sae: Id of its SAE.
        effect: How far apart the first halves of the sets are, in spreads; above 0 where the feature is stronger in the
            first set.
        mean_1: Mean activation over the chats of the first set's first half.
        mean_2: The same of the second set.
        accuracy: How well it tells the second halves apart, .5 by chance; None where a set has a single chat.
    """

    id: str
    label: str
    sae: str
    effect: float
    mean_1: float
    mean_2: float
    accuracy: float | None
