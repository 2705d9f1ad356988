"""A judge that needs no model: does a text use a label's words, and is it still coherent text?"""

from collections.abc import Collection, Sequence

import numpy as np

from featurehub.records import Label
from labeling.scoring import DETECTED, Scorer, WordScorer
from labeling.words import words_in

__all__ = ["WordJudge"]


class WordJudge:
    """Judges by words. A text mentions a label, and then also shows it, when the scorer detects it.

    A text is coherent when it is long enough, does not repeat itself too much, and has few unknown words: a model that
    is steered too hard makes up words.

    Attributes:
        name: "words", the judge's name in a manifest.
        scorer: Detects labels in texts.
        vocabulary: The known words, folded; where it is empty, every word counts as known.
        words_min: Words that a coherent text has at least.
        distinct_min: Share of its trigrams that are distinct, at least, in [0, 1].
        unknown_max: Share of its words that are unknown, at most, in [0, 1].
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

    def mentions(self, label: Label, texts: Sequence[str]) -> np.ndarray:
        """Whether each text mentions the label, [texts] bool."""
        return self.scorer.scores(label, texts) >= DETECTED

    def shows(self, label: Label, texts: Sequence[str]) -> np.ndarray:
        """Whether each text shows what the label names, [texts] bool."""
        return self.mentions(label, texts)

    def coherent(self, texts: Sequence[str]) -> np.ndarray:
        """Whether each text is coherent, [texts] bool."""
        return np.array([self.is_text(words_in(text)) for text in texts], dtype=bool)

    def is_text(self, words: list[str]) -> bool:
        """Whether these folded words are a coherent text."""
        trigrams = list(zip(words, words[1:], words[2:], strict=False))
        unknown = sum(word not in self.vocabulary for word in words) if self.vocabulary else 0
        return (
            len(words) >= self.words_min
            and len(set(trigrams)) >= self.distinct_min * len(trigrams)
            and unknown <= self.unknown_max * len(words)
        )
