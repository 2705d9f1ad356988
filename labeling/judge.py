"""A judge that needs no model: does a text use a label's words, and is it still text?"""

from collections.abc import Collection, Sequence

import numpy as np

from labeling.scoring import DETECTED, Scorer, WordScorer
from labeling.words import words_in

__all__ = ["WordJudge"]


class WordJudge:
    """A text mentions a label, and then shows it too, when the scorer detects it.

    It is coherent when it has at least ``words_min`` words, its trigrams do not return too often, and at most
    ``unknown_max`` of its words are none of the ``vocabulary`` (any word is known where that is empty). A model that is
    steered too hard makes up words.
    """

    name = "words"

    def __init__(
        self,
        scorer: Scorer | None = None,
        vocabulary: Collection[str] = frozenset(),
        words_min: int = 5,
        distinct_min: float = 0.6,
        unknown_max: float = 0.05,
    ) -> None:
        self.scorer = scorer or WordScorer()
        self.vocabulary = vocabulary
        self.words_min = words_min
        self.distinct_min = distinct_min
        self.unknown_max = unknown_max

    def mentions(self, label: str, texts: Sequence[str]) -> np.ndarray:
        return self.scorer.scores(label, texts) >= DETECTED

    def shows(self, label: str, texts: Sequence[str]) -> np.ndarray:
        return self.mentions(label, texts)

    def coherent(self, texts: Sequence[str]) -> np.ndarray:
        return np.array([self.is_text(words_in(text)) for text in texts], dtype=bool)

    def is_text(self, words: list[str]) -> bool:
        trigrams = list(zip(words, words[1:], words[2:], strict=False))
        unknown = sum(word not in self.vocabulary for word in words) if self.vocabulary else 0
        return (
            len(words) >= self.words_min
            and len(set(trigrams)) >= self.distinct_min * len(trigrams)
            and unknown <= self.unknown_max * len(words)
        )
