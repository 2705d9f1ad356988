"""How well a label separates the texts in which its latent fires from the others: detection on held-out texts.

A scorer says how much each text shows what a label names; the detection scores compare that with the firing. The one
that ships looks for the label's words; a recogniser, an embedding or a language model can take its place.

The scores equal scikit-learn's (a test compares them) but are computed here: its functions check and sort their input
anew for each score, which for a latent on 3,000 texts takes 40 times as long, and half an hour for 65,000 latents.
"""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from scipy.stats import rankdata

from featurehub.records import Label
from labeling.words import join, ngrams_of, words_in

__all__ = ["Scorer", "WordScorer", "detection"]

DETECTED = 0.5
CHANCE = 0.5


class Scorer(Protocol):
    """Says how much texts show what a label names."""

    def scores(self, label: Label, texts: Sequence[str]) -> np.ndarray:
        """A score for each text, [texts] floats in [0, 1]; from 0.5 on, the text shows what the label names."""
        ...


class WordScorer:
    """Looks for a label's name and its further words, each of which may be several words.

    A text with the name scores 1. Otherwise each further word that it has adds ``FURTHER``, up to 1.

    Attributes:
        FURTHER: What a further word is worth.
        longest: Words of the longest n-gram that is found in a text.
    """

    FURTHER = 0.5

    def __init__(self, longest: int = 3) -> None:
        self.longest = longest
        self._texts: Sequence[str] = ()
        self._index: dict[str, np.ndarray] = {}

    def scores(self, label: Label, texts: Sequence[str]) -> np.ndarray:
        """The score of each text, [texts] in [0, 1]."""
        index = self._indexed(texts)
        name, *further = (join(words_in(part)) for part in (label.name, *label.further))
        scores = np.zeros(len(texts), dtype=np.float32)
        for word in further:
            scores[index.get(word, [])] += self.FURTHER
        scores[index.get(name, [])] = 1.0
        return np.minimum(scores, 1.0)

    def _indexed(self, texts: Sequence[str]) -> dict[str, np.ndarray]:
        """The texts by n-gram. Kept for the next label, which is usually scored on the same texts."""
        if texts is not self._texts:
            found: dict[str, list[int]] = {}
            for at, text in enumerate(texts):
                for ngram in {each for line in text.split("\n") for each in ngrams_of(words_in(line), self.longest)}:
                    found.setdefault(ngram, []).append(at)
            self._texts, self._index = texts, {ngram: np.array(where) for ngram, where in found.items()}
        return self._index


def detection(scores: np.ndarray, fires: np.ndarray) -> dict[str, float]:
    """Scores of a detector against the truth, with what chance gives.

    Args:
        scores: [texts] in [0, 1]; a text is detected from 0.5 on.
        fires: [texts] bool, the truth.

    Returns:
        The scores by name.

        - ``agreement`` is Cohen's kappa, in [-1, 1]; chance gives 0.
        - ``balanced_accuracy`` and ``auroc`` are in [0, 1]; chance gives ``chance``.
        - ``f1`` is in [0, 1]; detecting every text gives ``chance_f1``.
        - ``n`` and ``n_firing`` are the number of texts, and of those that fire.

        Where all texts fire or none does, nothing was tested: ``agreement``, ``balanced_accuracy`` and ``auroc`` are at
        chance.
    """
    said = scores >= DETECTED
    yes, positive, total = int(said.sum()), int(fires.sum()), len(fires)
    hits = int((said & fires).sum())
    tested = 0 < positive < total
    unlike = total * (yes + positive) - 2 * yes * positive
    return {
        "agreement": 2 * (total * hits - yes * positive) / unlike if tested else 0.0,
        "balanced_accuracy": (hits / positive + 1 - (yes - hits) / (total - positive)) / 2 if tested else CHANCE,
        "f1": 2 * hits / (yes + positive) if positive else 0.0,
        "auroc": auroc(scores, fires) if tested else CHANCE,
        "chance": CHANCE,
        "chance_f1": 2 * positive / (total + positive) if positive else 0.0,
        "n": float(total),
        "n_firing": float(positive),
    }


def auroc(scores: np.ndarray, fires: np.ndarray) -> float:
    """Probability that a firing text scores above another one; ties count as half."""
    positive = int(fires.sum())
    ranks = rankdata(scores)[fires].sum()
    return float((ranks - positive * (positive + 1) / 2) / (positive * (len(fires) - positive)))
