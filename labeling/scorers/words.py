"""Detection by the label's own words: whether a passage has them, against whether the latent fires in it.

All held-out passages are looked at, and not a sample, since it costs next to nothing.
"""

import math
from collections.abc import Mapping

from featurehub.records import Label, Unlabeled
from labeling.evidence import Evidence
from labeling.examiner import HeldOut, Score
from labeling.scoring import WordScorer, detection

__all__ = ["WordDetection"]

CERTAIN = 2.0


class WordDetection:
    """Scores labels by their words.

    Attributes:
        name: "words".
    """

    name = "words"

    def __init__(self) -> None:
        self.scorer = WordScorer()

    async def score(self, label: Label, evidence: Evidence, held_out: HeldOut) -> Score | Unlabeled:
        """The numbers of ``labeling.scoring.detection``."""
        numbers = detection(self.scorer.scores(label, held_out.texts), held_out.fires(evidence))
        said = (
            f"of {numbers['n']:.0f} held-out passages it fires in {numbers['n_firing']:.0f} "
            f"(AUROC {numbers['auroc']:.2f})"
        )
        return Score({**numbers, self.name: numbers["balanced_accuracy"]}, tells(numbers), said)


def tells(numbers: Mapping[str, float]) -> bool:
    """Whether a label detects the firing better than chance, by ``CERTAIN`` standard errors of the AUROC of chance."""
    firing, others = numbers["n_firing"], numbers["n"] - numbers["n_firing"]
    error = math.sqrt((numbers["n"] + 1) / (12 * firing * others)) if firing and others else math.inf
    return numbers["auroc"] - numbers["chance"] > CERTAIN * error or not others
