"""Words and sentences of a text that is given as pieces of tokens.

Tokens need not be words: a subword tokenizer cuts ``banking`` into ``▁b``, ``ank``, ``ing``. The pieces' concatenation
is the text; words are found in it and point back to the token in which they begin. A piece may be empty (a token that
only begins a character). ``BREAK`` stands for a special token: neither a word nor a sentence reaches across it.

1. Most scripts separate words by spaces: a word is a run of letters and digits with their marks (accents, vowel signs).
2. Some do not. There a word is one unit, and what people call a word is mostly an n-gram of two or three, joined
   without spaces: Han and Hiragana characters, runs of Katakana, written syllables of Thai, Lao, Khmer and Myanmar.
"""

import re
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import regex

__all__ = ["BREAK", "Words", "find_words", "join", "ngrams_of", "sentence_starts", "size_of", "words_in"]

LONG = "ー\uff70"
"""Marks that lengthen a Kana."""
KANA_AND_HAN = rf"[\p{{Han}}\p{{Hiragana}}]\p{{M}}*[{LONG}]*|[\p{{Katakana}}{LONG}]+"
# A vowel may stand before its consonant and one after it; a consonant may stand below another.
SYLLABLE = (
    r"\p{Logical_Order_Exception}?[[\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}]&&\p{L}]"
    r"(?:[\u17d2\u1039]\p{L}|\p{M})*[\u0e30\u0e32\u0e33\u0e45\u0eb0\u0eb2\u0eb3]*"
)
WRITTEN_SYLLABLE = regex.compile(rf"(?V1){SYLLABLE}")
UNIT = regex.compile(rf"(?V1){KANA_AND_HAN}|{SYLLABLE}")
LETTER = (
    r"[[\p{L}\p{N}]--[\p{Han}\p{Hiragana}\p{Katakana}" + LONG + r"]--[[\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}]&&\p{L}]]"
)
RUN = rf"{LETTER}(?:{LETTER}|[\p{{M}}\u200c\u200d])*"
WORD = regex.compile(rf"(?V1){RUN}(?:['’]{RUN})*|{KANA_AND_HAN}|{SYLLABLE}")
ASCII_WORD = re.compile(r"[a-z0-9]+(?:'[a-z0-9]+)*")
"""The same in folded ASCII, several times as fast."""
FIRST_UNIT = "\u0e01"
"""Units of step 2 never begin with an earlier character."""
BREAK = "\0"
"""Stands for a special token in a document's pieces; neither a word nor a sentence reaches across it."""
ENDINGS = (".", "!", "?", "\n", "。", "！", "？", "।", "؟", "။", "។")
LONGEST_SENTENCE = 48


class Words(NamedTuple):
    """The words of a text that is given as pieces.

    Attributes:
        words: The folded words, in order.
        tokens: [words] index of the token in which each word begins.
    """

    words: list[str]
    tokens: np.ndarray


def words_in(text: str) -> list[str]:
    """The folded words of a text."""
    return [match.group() for match in matches(text.casefold())]


def matches(folded: str) -> Iterator[Any]:
    """A match for each word."""
    return (ASCII_WORD if folded.isascii() else WORD).finditer(folded)


def find_words(pieces: Sequence[str]) -> Words:
    """The words of a text given as pieces, with the token in which each begins."""
    folded = [piece.casefold() for piece in pieces]
    ends = np.cumsum([len(piece) for piece in folded], dtype=np.int64)
    found = list(matches("".join(folded)))
    starts = np.array([match.start() for match in found], dtype=np.int64)
    return Words([match.group() for match in found], np.searchsorted(ends, starts, side="right"))


def sentence_starts(pieces: Sequence[str]) -> list[int]:
    """Indices of the tokens at which sentences begin. A sentence is cut after ``LONGEST_SENTENCE`` tokens."""
    starts = [0] if pieces else []
    for at, piece in enumerate(pieces[:-1], start=1):
        ends = piece == BREAK or piece.rstrip(" ").endswith(ENDINGS)
        if ends or at - starts[-1] >= LONGEST_SENTENCE:
            starts.append(at)
    return starts


def ngrams_of(words: Sequence[str], longest: int) -> list[str]:
    """All runs of 1 to ``longest`` words, each joined as ``join`` does."""
    joined = [*words[:1], *(f"{glue(left, right)}{right}" for left, right in pairwise(words))]
    return [
        words[start] + "".join(joined[start + 1 : start + size])
        for size in range(1, longest + 1)
        for start in range(len(words) - size + 1)
    ]


def join(words: Sequence[str]) -> str:
    """The words as one text, with spaces where their script has them."""
    return "".join([*words[:1], *(f"{glue(left, right)}{right}" for left, right in pairwise(words))])


def glue(left: str, right: str) -> str:
    return "" if is_unit(left) and is_unit(right) else " "


def is_unit(word: str) -> bool:
    """Whether the word is a unit of a script without spaces."""
    return word >= FIRST_UNIT and UNIT.match(word) is not None


def size_of(text: str) -> int:
    """How many words people would count.

    In scripts without spaces, the first two characters (or three syllables) are one word, and each further unit is one
    more.
    """
    return sum(size_of_part(part) if is_unit(part) else 1 for part in text.split(" "))


def size_of_part(part: str) -> int:
    longest = 3 if WRITTEN_SYLLABLE.match(part) else 2
    return max(1, len(words_in(part)) - longest + 1)
