"""Labels, or why there is none, and where they come from."""

from typing import Self

from pydantic import Field, field_validator, model_validator

from featurehub.names import single_spaced
from featurehub.settings import Frozen

__all__ = ["Label", "LabelVersion", "Labeled", "Outcome", "Provenance", "Unlabeled"]


class Label(Frozen):
    """What a feature is called, in parts. Its text is written from them, and they are never read out of a text.

    What a person or another program wrote is a name as a whole, whatever signs it has.

    >>> Label(name="banking", qualifier="loan", further=("loan", "deposit")).text
    'banking (loan): deposit'
    >>> Label(name="Note: mentions of dates (years)").head
    'Note: mentions of dates (years)'

    Attributes:
        name: What the feature is about. Features with one name mean the same.
        qualifier: What tells it from other features with its name: one of its further words, or a number; "" where it
            has the name to itself.
        further: Words or n-grams that say more.
    """

    name: str
    qualifier: str = ""
    further: tuple[str, ...] = ()

    @field_validator("name", "qualifier")
    @classmethod
    def _on_one_line(cls, text: str) -> str:
        return single_spaced(text)

    @field_validator("further")
    @classmethod
    def _words(cls, further: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(map(single_spaced, further))

    @model_validator(mode="after")
    def _not_blank(self) -> Self:
        if not (self.name and all(self.further)):
            raise ValueError("a label's parts have visible characters; use Unlabeled(reason) where there is no label")
        return self

    @property
    def head(self) -> str:
        """The name with its qualifier: ``banking (loan)``. No other label of an SAE that featurehub wrote has it."""
        return f"{self.name} ({self.qualifier})" if self.qualifier else self.name

    @property
    def behind(self) -> str:
        """The further words that the head does not have: ``deposit, teller``."""
        return ", ".join(word for word in self.further if word != self.qualifier)

    @property
    def text(self) -> str:
        """The label in one text: the head, then what stands behind it."""
        return f"{self.head}: {behind}" if (behind := self.behind) else self.head


class Labeled(Frozen):
    """The outcome where a label was found.

    Attributes:
        label: The label.
        score: The number that search ranks by, in [0, 1], on held-out contexts; None where the label was not scored.
        scores: All of the scorer's numbers, by name.
    """

    label: Label
    score: float | None = Field(default=None, ge=0.0, le=1.0)
    scores: dict[str, float] = Field(default_factory=dict)


class Unlabeled(Frozen):
    """The outcome where no label was found.

    Attributes:
        reason: Why there is none.
    """

    reason: str = Field(min_length=1)


Outcome = Labeled | Unlabeled


class Provenance(Frozen):
    """Where a label comes from.

    Attributes:
        author: The person or program that asked for it.
        method: How it was found.
        model: The language model that answered; "" where there was none.
        prompt: The evidence that the method was given.
        answer: The raw answer, before it was parsed.
    """

    author: str
    method: str
    model: str = ""
    prompt: str = ""
    answer: str = ""


class LabelVersion(Frozen):
    """One attempt at labelling a feature.

    Attributes:
        version: Counts from 1 for each feature.
        outcome: The label, or why there is none.
        provenance: Where it comes from.
        created: Time of the attempt, ISO 8601 in UTC.
    """

    version: int
    outcome: Outcome
    provenance: Provenance
    created: str
