"""Detection: a language model reads a label and contexts, and tells in which of them the latent fires.

1. Half of the contexts are those in which the latent fires, at all strengths from its level on; the others are quiet,
   half of them near misses. They are shuffled, and shown ``AT_ONCE`` at a time.
2. The score is the balanced accuracy of what the model said, .5 by chance, with its interval. A label tells where the
   latent fires if the interval lies above chance.

A reply that cannot be read leaves the label unscored: no text is dropped, and none counts as judged.
"""

from collections.abc import Sequence

import numpy as np
from pydantic import Field

from featurehub.records import Label, Unlabeled
from featurehub.settings import Frozen
from labeling.evidence import Evidence
from labeling.examiner import HeldOut, Score
from labeling.explainer import Unanswered
from labeling.intervals import Interval, balanced_accuracy
from labeling.llm.client import Llm, NoReply
from labeling.llm.marks import plain

__all__ = ["Detection", "Matching", "judge", "score_of", "shuffled"]

CONTEXTS, AT_ONCE, CHANCE = 10, 10, 0.5
SYSTEM = """\
A detector fires on certain text. You are told what it is said to detect, and given numbered texts. Say in which of them
it should fire, somewhere in the text. Perhaps in none of them, perhaps in all.

Answer in JSON: "matching" has the numbers of these texts."""


class Matching(Frozen):
    """The form of the answer.

    Attributes:
        matching: Numbers of texts.
    """

    matching: list[int] = Field(max_length=100)


class Detection:
    """Scores a label by whether a language model can tell by it where the latent fires.

    Attributes:
        name: "detection".
    """

    name = "detection"

    def __init__(self, llm: Llm, contexts: int = CONTEXTS) -> None:
        self.llm, self.count = llm, contexts

    async def score(self, label: Label, evidence: Evidence, held_out: HeldOut) -> Score | Unlabeled:
        """The balanced accuracy on held-out contexts; Unlabeled where it could not be judged.

        Raises:
            OutOfBudget: The budget is over.
        """
        latent, contexts = evidence.latent, held_out.contexts
        firing = contexts.firing(latent, self.count, evidence.level)
        quiet = contexts.quiet(latent, self.count, held_out.neighbors.get(latent, ()))
        texts, truth = shuffled([plain(each) for each in firing], [plain(each) for each in quiet], latent)
        return await judge(self.name, self.llm, SYSTEM, label, texts, truth)


def shuffled(positive: Sequence[str], negative: Sequence[str], seed: int) -> tuple[list[str], np.ndarray]:
    """Texts of both kinds in random order, and which are positive, [texts] bool."""
    texts = [*positive, *negative]
    order = np.random.default_rng(seed).permutation(len(texts))
    return [texts[at] for at in order], order < len(positive)


async def judge(
    name: str, llm: Llm, system: str, label: Label, texts: Sequence[str], truth: np.ndarray
) -> Score | Unlabeled:
    """Asks which texts match a label, and scores the answers.

    Args:
        name: Name of the score.
        llm: The model that is asked.
        system: What it is to do.
        label: The label.
        texts: The texts.
        truth: [texts] bool, those that should match.

    Raises:
        OutOfBudget: The budget is over.
        Unanswered: The endpoint gave no answer.
    """
    if truth.all() or not truth.any():
        return Unlabeled(reason=f"there are no held-out contexts of both kinds to judge its label by {name}")
    said = np.zeros(len(texts), dtype=bool)
    for start in range(0, len(texts), AT_ONCE):
        shown = texts[start : start + AT_ONCE]
        lines = [f"{at}. {text}" for at, text in enumerate(shown, 1)]
        user = "\n".join([f"It is said to detect: {label.text}", "", "Texts:", *lines])
        try:
            numbers = (await llm.ask(system, user, Matching)).value.matching
        except NoReply as error:
            return unjudged(name, error)
        if not all(1 <= number <= len(shown) for number in numbers):
            return unjudged(name, NoReply("the answer names texts that are not there", str(numbers)))
        said[[start + number - 1 for number in numbers]] = True
    return score_of(name, balanced_accuracy(said, truth), truth)


def unjudged(name: str, error: NoReply) -> Unlabeled:
    """The reason why a label has no score. Raises Unanswered where nothing came: it may next time."""
    reason = f"its label could not be judged by {name}: {error.reason}"
    if not error.text:
        raise Unanswered(reason)
    return Unlabeled(reason=reason)


def score_of(name: str, found: Interval, truth: np.ndarray) -> Score:
    """The numbers of a score whose chance is .5. ``agreement`` is twice its distance from that."""
    numbers = {
        name: found.value,
        f"{name}_low": found.low,
        f"{name}_high": found.high,
        "agreement": 2 * found.value - 1,
        "chance": CHANCE,
        "n": float(len(truth)),
        "n_firing": float(truth.sum()),
    }
    said = f"{name} {found.value:.2f} ({found.low:.2f} to {found.high:.2f}) on {len(truth)} held-out contexts"
    return Score(numbers, found.low > CHANCE, said)
