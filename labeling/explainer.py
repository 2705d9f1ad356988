"""Explainers turn the evidence on a latent into a label for it, or a reason why there is none.

Each is a plug-in in one file of ``labeling.explainers``: anything with the attributes and methods of ``Explainer`` is
one. It is asked for one latent at a time, by as many callers at once as it allows.
"""

from collections.abc import Mapping
from typing import NamedTuple, Protocol

from featurehub.records import Label, Unlabeled
from labeling.evidence import Evidence

__all__ = ["Explainer", "Explanation", "FakeExplainer", "OutOfBudget", "Unanswered", "Wants", "describe"]

SHOWN = 12


class OutOfBudget(Exception):
    """An explainer or a scorer may ask no more. What it was asked for last stays without an outcome."""


class Unanswered(Exception):
    """A scorer got no answer, and may get one the next time. Its text is the reason."""


class Wants(NamedTuple):
    """What an explainer reads of the evidence; the rest is not gathered.

    Attributes:
        ngrams: Whether it reads n-grams and the words that a latent is most active on.
        contexts: How many contexts it reads.
    """

    ngrams: bool = False
    contexts: int = 0


class Explanation(NamedTuple):
    """An explainer's result and how it came about.

    Attributes:
        outcome: The proposed label, or the reason why there is none.
        prompt: What the explainer was given.
        answer: What it answered, before that was parsed; "" where no answer came.
    """

    outcome: Label | Unlabeled
    prompt: str
    answer: str


class Explainer(Protocol):
    """Turns evidence into a label.

    Attributes:
        method: How it works, as a label's provenance names it.
        model: The language model that answers; "" for none.
        wants: What it reads of the evidence.
        at_once: For how many latents it may be asked at once.
    """

    method: str
    model: str
    wants: Wants
    at_once: int

    def prompt(self, evidence: Evidence) -> str:
        """What ``explain`` would be given. Method, model and prompt say whether a latent was explained before."""
        ...

    async def explain(self, evidence: Evidence) -> Explanation:
        """A label for the latent, or the reason why there is none.

        Raises:
            OutOfBudget: It may ask no more.
        """
        ...


class FakeExplainer:
    """Answers from a table, for tests; a latent that is not in it stays unlabelled.

    Attributes:
        method: "fake".
        model: Always "".
        wants: N-grams.
        at_once: 1
        labels: The label of each latent.
    """

    method, model = "fake", ""
    wants, at_once = Wants(ngrams=True), 1

    def __init__(self, labels: Mapping[int, Label]) -> None:
        self.labels = labels

    def prompt(self, evidence: Evidence) -> str:
        """The evidence in words."""
        return describe(evidence)

    async def explain(self, evidence: Evidence) -> Explanation:
        """The label in the table; Unlabeled where there is none."""
        outcome = self.labels.get(evidence.latent) or Unlabeled(reason="the fake has no answer for it")
        return Explanation(outcome, describe(evidence), repr(outcome))


def describe(evidence: Evidence) -> str:
    """The evidence in words, as a label's provenance keeps it."""
    lines = [f"latent {evidence.latent} fires from {evidence.level:.3g} on, in {evidence.passages} passages"]
    lines += [
        f"{ngram.text!r}: agreement {ngram.agreement:.3f}, in {ngram.passages} passages, firing in {ngram.firing:.1f}"
        for ngram in evidence.ngrams[:SHOWN]
    ]
    if evidence.active:
        lines.append(f"is most active on {', '.join(map(repr, evidence.active))}")
    for title, tokens in (("promotes", evidence.top_tokens), ("suppresses", evidence.bottom_tokens)):
        if tokens:
            lines.append(f"{title} {', '.join(repr(each.token) for each in tokens)}")
    return "\n".join(lines)
