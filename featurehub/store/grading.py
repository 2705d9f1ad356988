"""How relevant names are to the words of a query, all names at once.

1. A name is 1 if it is the query, or has its words in order and no other; ``BASE`` if that holds of the name of the
   label that it is of (``banking (loan)`` for ``banking``: another feature of that name).
2. Else each word of the query counts ``WORD`` if the name's head has it, ``PREFIX`` if it begins one of the head's,
   ``FURTHER`` if it is or begins one after the head (``play: park`` for ``park``), ``ALIKE`` x likeness if it resembles
   one, 0 else.
3. The mean of these is weighted by how rare the word is among the names, log(2 + N / (1 + n)), N being how many
   different words all names have together, and n how many names have this one. A name's further words cost up to a
   tenth.

What two words have to do with each other is computed once for each pair of words, not of names.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from rapidfuzz import fuzz, process

from featurehub.names import parts_of

__all__ = ["ALIKE_FROM", "Grade", "PartedName", "grades"]

BASE = 0.95
WORD = 0.75
PREFIX = 0.5
FURTHER = 0.35
ALIKE = 0.3
ALIKE_FROM = 70

Floats = NDArray[np.float64]


class PartedName(NamedTuple):
    """A name that a feature answers to, folded.

    Attributes:
        key: The name.
        name_words: How many of its first words are the name of the label that it is of.
        head_words: How many are its head.
    """

    key: str
    name_words: int
    head_words: int


class Grade(NamedTuple):
    """What a name has to do with the words of a query.

    Attributes:
        relevance: In [0, 1].
        holds: Whether each of the words is or begins one of the name's head.
    """

    relevance: float
    holds: bool


def grades(query: Sequence[str], names: Sequence[PartedName]) -> list[Grade]:
    """What names have to do with the words of a query.

    Args:
        query: The words, folded.
        names: The names.
    """
    asked = tuple(query)
    words = [parts_of(name.key) for name in names]
    graded, holds = _by_words(asked, words, [name.head_words for name in names])
    for at, (name, own) in enumerate(zip(names, words, strict=True)):
        if own == asked:
            graded[at] = 1.0
        elif own[: name.name_words] == asked:
            graded[at] = BASE
    return list(map(Grade, graded.tolist(), holds.tolist()))


def _by_words(
    query: Sequence[str], names: Sequence[Sequence[str]], heads: Sequence[int]
) -> tuple[Floats, NDArray[np.bool_]]:
    """Steps 2 and 3, given how many of each name's first words its head has, and ``Grade.holds``. Twice [names]"""
    graded, holds = np.zeros(len(names)), np.zeros(len(names), np.bool_)
    lengths = np.array([len(name) for name in names], np.int64)
    worded = np.flatnonzero(lengths)
    if not query or not len(worded):
        return graded, holds
    vocabulary = {word: None for name in names for word in name}
    places = {word: at for at, word in enumerate(vocabulary)}
    ids = np.array([places[word] for name in names for word in name], np.int64)
    whose = np.repeat(np.arange(len(names)), lengths)
    starts = np.cumsum(lengths) - lengths
    in_head = np.arange(len(ids)) - starts[whose] < np.array(heads, np.int64)[whose]
    head, further = _by_word(query, list(vocabulary))
    in_heads = np.where(in_head, head[:, ids], 0.0)
    holds[worded] = (np.maximum.reduceat(in_heads, starts[worded], axis=1) >= PREFIX).all(axis=0)
    best = np.maximum.reduceat(np.where(in_head, in_heads, further[:, ids]), starts[worded], axis=1)
    counts = np.bincount(np.unique(whose * len(vocabulary) + ids) % len(vocabulary), minlength=len(vocabulary))
    held = np.array([counts[places[word]] if word in places else 0 for word in query])
    weights = np.log(2 + counts.sum() / (1 + held))
    graded[worded] = (weights / weights.sum()) @ best * (0.9 + 0.1 * np.minimum(1.0, len(query) / lengths[worded]))
    return graded, holds


def _by_word(query: Sequence[str], vocabulary: Sequence[str]) -> tuple[Floats, Floats]:
    """What each word of the query counts where a name's head has a word, and where it stands after the head.

    Returns:
        Twice [query, vocabulary].
    """
    alike = process.cdist(query, vocabulary, scorer=fuzz.ratio, score_cutoff=ALIKE_FROM) * (ALIKE / 100)
    asked, known = np.array(query)[:, None], np.array(vocabulary)[None, :]
    begins, equal = np.strings.startswith(known, asked), known == asked
    head = np.where(equal, WORD, np.where(begins, PREFIX, alike))
    return head, np.where(begins, FURTHER, alike)
