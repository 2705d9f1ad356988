"""Scores proposed labels on held-out documents, none of which any explainer was shown.

What a scorer is, and what it may look at. Each is a plug-in in one file of ``labeling.scorers``.
"""

from collections.abc import Mapping, Sequence
from functools import cached_property
from types import MappingProxyType
from typing import NamedTuple, Protocol

import numpy as np

from featurehub.records import Label, Unlabeled
from featurehub.sparse import columns_of
from labeling.contexts import Contexts
from labeling.corpus import Corpus, pool
from labeling.cutting import cut
from labeling.evidence import Evidence
from labeling.explainer import Explanation, Unanswered

__all__ = ["Examiner", "HeldOut", "LabelScorer", "Score", "ScoredExplanation", "too_few"]

Neighbors = Mapping[int, Sequence[int]]


class HeldOut:
    """Held-out documents, and what latents do in them.

    Args:
        corpus: The documents with their activations.
        neighbors: By latent, those with similar decoder rows.
        seed: Seed of what is drawn.

    Attributes:
        texts: The text of each passage (``labeling.cutting``).
        neighbors: By latent, those with similar decoder rows.
    """

    def __init__(self, corpus: Corpus, neighbors: Neighbors = MappingProxyType({}), seed: int = 0) -> None:
        pieces = cut(corpus)
        self.texts, self.neighbors = pieces.texts, neighbors
        self.peaks = pool(columns_of(corpus.matrix), pieces.passage_of, len(pieces.texts))
        self._corpus, self._seed = corpus, seed

    @cached_property
    def contexts(self) -> Contexts:
        """Draws contexts."""
        return Contexts(self._corpus, self._seed)

    def fires(self, evidence: Evidence) -> np.ndarray:
        """In which passages the latent fires, [passages] bool."""
        return self.peaks[:, [evidence.latent]].toarray().ravel() >= evidence.level


class Score(NamedTuple):
    """How well a label tells where its latent fires.

    Attributes:
        numbers: By name. ``agreement`` is what search ranks by, in [-1, 1] with 0 for chance.
        tells: Whether that is better than chance, and not by luck.
        said: What was found, in words that follow "… which its label".
    """

    numbers: dict[str, float]
    tells: bool
    said: str


class LabelScorer(Protocol):
    """Scores a label on held-out text.

    Attributes:
        name: What it measures; also the name of that number in a label's scores.
    """

    name: str

    async def score(self, label: Label, evidence: Evidence, held_out: HeldOut) -> Score | Unlabeled:
        """The score of a label for a latent; Unlabeled where it could not be judged.

        Raises:
            OutOfBudget: It may ask no more.
            Unanswered: It got no answer, and may get one the next time.
        """
        ...


class ScoredExplanation(NamedTuple):
    """An explanation with its scores.

    Attributes:
        explanation: What the explainer came to; Unlabeled where its label tells no better than chance.
        scores: As the scorer gave them; empty where nothing was scored.
    """

    explanation: Explanation
    scores: dict[str, float]


class Examiner:
    """Scores labels.

    Args:
        held_out: Documents that no explainer was shown.
        scorer: Scores labels on them.
        min_passages: Passages that a latent must fire in.
    """

    def __init__(self, held_out: HeldOut, scorer: LabelScorer, min_passages: int) -> None:
        self.held_out, self.scorer, self.min_passages = held_out, scorer, min_passages

    def untestable(self, evidence: Evidence) -> Unlabeled | None:
        """The reason why no label of the latent can be scored; None where one can."""
        passages = int(self.held_out.fires(evidence).sum())
        return too_few(passages, self.min_passages, "held-out") if passages < self.min_passages else None

    async def examine(self, evidence: Evidence, explanation: Explanation) -> ScoredExplanation:
        """The explanation with its scores; Unlabeled where the latent fires in too few passages.

        Raises:
            OutOfBudget: The scorer may ask no more.
        """
        label = explanation.outcome
        if isinstance(label, Unlabeled):
            return ScoredExplanation(explanation, {})
        if (outcome := self.untestable(evidence)) is not None:
            return ScoredExplanation(explanation._replace(outcome=outcome), {})
        try:
            score = await self.scorer.score(label, evidence, self.held_out)
        except Unanswered as error:
            return ScoredExplanation(explanation._replace(outcome=Unlabeled(reason=str(error)), answer=""), {})
        if isinstance(score, Unlabeled):
            return ScoredExplanation(explanation._replace(outcome=score), {})
        found = explanation if score.tells else explanation._replace(outcome=unclear(label, score))
        return ScoredExplanation(found, score.numbers)


def too_few(passages: int, needed: int, half: str) -> Unlabeled:
    """The reason for a latent that fires in too few passages of one half."""
    return Unlabeled(reason=f"fires in {passages} of the {half} passages; at least {needed} are needed")


def unclear(label: Label, score: Score) -> Unlabeled:
    return Unlabeled(reason=f"unclear: its best words, “{label.text}”, tell no better than chance: {score.said}")
