"""What a latent does in text, and what it writes."""

from typing import Self

from pydantic import Field, model_validator

from featurehub.settings import Frozen

__all__ = ["CoActive", "Context", "FeatureRow", "Histogram", "TokenLogit"]

BINS = 100
"""Most parts of a histogram."""


class Context(Frozen):
    """A stretch of text on which a latent fired.

    Attributes:
        tokens: The text of each token; joined, they are the stretch (leading spaces included).
        activations: The latent's activation at each token, >= 0.
    """

    tokens: tuple[str, ...]
    activations: tuple[float, ...]

    @model_validator(mode="after")
    def _one_activation_per_token(self) -> Self:
        if len(self.tokens) != len(self.activations):
            raise ValueError(f"{len(self.tokens)} tokens but {len(self.activations)} activations")
        return self

    @property
    def text(self) -> str:
        """The stretch of text."""
        return "".join(self.tokens)


class TokenLogit(Frozen):
    """A ``token``, and the ``logit`` that the latent's decoder row adds to it; a negative one suppresses it."""

    token: str
    logit: float


class Histogram(Frozen):
    """How often a latent fires how strongly: its positive activations, counted in equal parts of [low, high].

    Attributes:
        low: Where the first part begins, >= 0.
        high: Where the last part ends; that value belongs to it.
        counts: Tokens in each part, those with the weakest activations first.
    """

    low: float = Field(ge=0.0)
    high: float = Field(gt=0.0)
    counts: tuple[int, ...] = Field(min_length=1, max_length=BINS)

    @property
    def middles(self) -> tuple[float, ...]:
        """The middle of each part."""
        width = (self.high - self.low) / len(self.counts)
        return tuple(self.low + width * (at + 0.5) for at in range(len(self.counts)))


class CoActive(Frozen):
    """A latent that fires on the same tokens.

    Attributes:
        latent: Index in the SAE.
        jaccard: Tokens on which both fire, by those on which either does, in (0, 1].
    """

    latent: int = Field(ge=0)
    jaccard: float = Field(gt=0.0, le=1.0)


class FeatureRow(Frozen):
    """The statistics of one live latent.

    Attributes:
        latent: Index in the SAE.
        density: Share of tokens on which it fires, in [0, 1].
        max_activation: Its largest activation.
        quantiles: Quantiles of its positive activations: {"0.5": …}.
        contexts: Stretches of text on which it fired, strongest first.
        top_tokens: Tokens that its decoder row promotes most.
        bottom_tokens: Tokens that its decoder row suppresses most.
        neighbors: Latents with the most similar decoder rows, most similar first.
        histogram: Its positive activations; None where they are not known.
        coactive: Latents that fire on the same tokens (``labeling.coactivity``), those that do so most first.
    """

    latent: int = Field(ge=0)
    density: float = Field(ge=0.0, le=1.0)
    max_activation: float = Field(ge=0.0)
    quantiles: dict[str, float] = Field(default_factory=dict)
    contexts: tuple[Context, ...] = ()
    top_tokens: tuple[TokenLogit, ...] = ()
    bottom_tokens: tuple[TokenLogit, ...] = ()
    neighbors: tuple[int, ...] = ()
    histogram: Histogram | None = None
    coactive: tuple[CoActive, ...] = ()
