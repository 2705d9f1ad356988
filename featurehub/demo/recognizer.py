"""The recogniser: tells which planted concepts each sentence of any text shows, without a model or a person.

1. The text is split into words and marks; a sentence ends at ``.``, ``!`` or ``?``.
2. A sentence is read by the grammar. It is well-formed iff it has exactly one sound reading.
3. Its concepts are its field, the field's parent topic, its manner unless plain, and its trait.
4. A text is well-formed iff it has 2 to 8 sentences, all of them well-formed, and nothing is left over.
5. A text *mentions* a concept that at least one sentence has; it *shows* one that more than half of its sentences have.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from featurehub.demo.answers import SENTENCES
from featurehub.demo.grammar import PLAIN, Parse, base_grammar, words_of

__all__ = ["SentenceVerdict", "Verdict", "recognize"]

ENDINGS = frozenset(".!?")


@dataclass(frozen=True)
class SentenceVerdict:
    """The verdict on one sentence.

    Attributes:
        words: Its words and punctuation marks.
        well_formed: Whether the grammar produces it with exactly one sound reading.
        concepts: Names of the concepts that it shows; empty if it is not well-formed.
    """

    words: tuple[str, ...]
    well_formed: bool
    concepts: frozenset[str]


@dataclass(frozen=True)
class Verdict:
    """The verdict on a text.

    Attributes:
        sentences: The verdict on each of its sentences.
    """

    sentences: tuple[SentenceVerdict, ...]

    @property
    def well_formed(self) -> bool:
        """Whether the text has 2 to 8 sentences, all of them well-formed."""
        return min(SENTENCES) <= len(self.sentences) <= max(SENTENCES) and all(
            each.well_formed for each in self.sentences
        )

    @property
    def shares(self) -> dict[str, float]:
        """The share of sentences that have a concept, in (0, 1], for each concept that occurs."""
        counts = Counter(name for each in self.sentences for name in each.concepts)
        return {name: count / len(self.sentences) for name, count in counts.items()}

    @property
    def mentions(self) -> frozenset[str]:
        """The concepts that at least one sentence has."""
        return frozenset(self.shares)

    @property
    def shows(self) -> frozenset[str]:
        """The concepts that more than half of the sentences have."""
        return frozenset(name for name, share in self.shares.items() if share > 0.5)


@lru_cache(maxsize=8192)
def recognize(text: str) -> Verdict:
    """Judges any text; never raises. A sentence that the grammar does not produce exactly is not well-formed."""
    return Verdict(tuple(_judge(words) for words in _split(words_of(text))))


def _split(words: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    start = 0
    for at, word in enumerate(words, start=1):
        if word in ENDINGS:
            yield words[start:at]
            start = at
    if start < len(words):
        yield words[start:]


@lru_cache(maxsize=65536)
def _judge(words: tuple[str, ...]) -> SentenceVerdict:
    readings = base_grammar().read(words)
    if len(readings) != 1:
        return SentenceVerdict(words, False, frozenset())
    return SentenceVerdict(words, True, _concepts(next(iter(readings))))


def _concepts(reading: Parse) -> frozenset[str]:
    shown = {reading.manner, reading.trait or PLAIN} - {PLAIN}
    return base_grammar().lexicon.fields[reading.field].concepts | shown
