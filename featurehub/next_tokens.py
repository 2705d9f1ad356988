"""How likely the next tokens of a text are: what the server answers and the SDK returns."""

from featurehub.settings import Frozen

__all__ = ["TOP_MAX", "NextToken"]

TOP_MAX = 1000
"""Most next tokens that a request may ask for; a server may have a lower bound."""


class NextToken(Frozen):
    """A token that may come next.

    Attributes:
        id: Its id.
        text: The text that it would add.
        logprob: Natural logarithm of its probability in the model's whole distribution, at temperature 1: its logit up
            to a number that all tokens share.
    """

    id: int
    text: str
    logprob: float
