"""Fuzzing: a language model reads a label and tells whether the tokens marked in a context are those that fire.

1. All contexts are ones in which the latent fires. In every other one, from strong to weak, the marks are on the tokens
   that fire from half of the context's peak on; in the others as many marks are on random tokens that do not fire.
2. As in ``labeling.scorers.detection``: balanced accuracy, its interval, and the label must beat chance.
"""

import numpy as np

from featurehub.records import Context, Label, Unlabeled
from labeling.evidence import Evidence
from labeling.examiner import HeldOut, Score
from labeling.llm.client import Llm
from labeling.llm.marks import marked
from labeling.scorers.detection import CONTEXTS, judge, shuffled

__all__ = ["Fuzzing", "fuzzed", "true_marks"]

SYSTEM = """\
A detector fires on certain tokens of text. You are told what it is said to detect, and given numbered texts, in each of
which some tokens stand in double brackets, [[like this]]. In some texts these are the tokens on which the detector
fires; in others they were picked at random. Say in which texts the marks are right.

Answer in JSON: "matching" has the numbers of the texts whose marks are right."""


class Fuzzing:
    """Scores a label by whether a language model can tell right marks from random ones by it.

    Attributes:
        name: "fuzzing".
    """

    name = "fuzzing"

    def __init__(self, llm: Llm, contexts: int = CONTEXTS) -> None:
        self.llm, self.count = llm, contexts

    async def score(self, label: Label, evidence: Evidence, held_out: HeldOut) -> Score | Unlabeled:
        """The balanced accuracy on held-out contexts; Unlabeled where it could not be judged.

        Raises:
            OutOfBudget: The budget is over.
        """
        firing = held_out.contexts.firing(evidence.latent, 2 * self.count, evidence.level)
        random = np.random.default_rng(evidence.latent)
        right = [marked(each, true_marks(each).tolist()) for each in firing[::2]]
        wrong = [marked(each, marks.tolist()) for each in firing[1::2] if (marks := fuzzed(each, random)).any()]
        texts, truth = shuffled(right, wrong, evidence.latent)
        return await judge(self.name, self.llm, SYSTEM, label, texts, truth)


def true_marks(context: Context) -> np.ndarray:
    """The tokens with text that fire from half of the peak on, [tokens] bool."""
    values = np.array(context.activations)
    return (values >= values.max() / 2) & has_text(context)


def fuzzed(context: Context, random: np.random.Generator) -> np.ndarray:
    """As many random tokens with text on which nothing fires, [tokens] bool; none where all tokens fire."""
    quiet = np.flatnonzero((np.array(context.activations) == 0) & has_text(context))
    marks = np.zeros(len(context.tokens), dtype=bool)
    marks[random.permutation(quiet)[: max(1, int(true_marks(context).sum()))]] = True
    return marks


def has_text(context: Context) -> np.ndarray:
    return np.array([bool(token.strip()) for token in context.tokens], dtype=bool)
