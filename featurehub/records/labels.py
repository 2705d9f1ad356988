"""Labels, or why there is none, and where they come from."""

from pydantic import Field, field_validator

from featurehub.settings import Frozen

__all__ = ["LabelVersion", "Labeled", "Outcome", "Provenance", "Unlabeled"]


class Labeled(Frozen):
    """The outcome where a label was found.

    Attributes:
        label: A name, or ``name: further words``; the part before the colon is its *head*.
        score: The number that search ranks by, in [0, 1], on held-out contexts; None where the label was not scored.
        scores: All of the scorer's numbers, by name.
    """

    label: str
    score: float | None = Field(default=None, ge=0.0, le=1.0)
    scores: dict[str, float] = Field(default_factory=dict)

    @field_validator("label")
    @classmethod
    def _not_blank(cls, label: str) -> str:
        if not label.replace("\0", " ").strip():
            raise ValueError("a label has at least one visible character; use Unlabeled(reason) where there is none")
        return " ".join(label.replace("\0", " ").split())


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
