"""Words and sentences of a text that is given as pieces of tokens.

Tokens need not be words: a subword tokenizer cuts ``banking`` into ``▁b``, ``ank``, ``ing``. The pieces' concatenation
is the text; words are found in it and point back to the token in which they begin. A piece may be empty (a token that
only begins a character). ``BREAK`` stands for a special token: no word and no sentence reaches across it.
"""

import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

__all__ = ["BREAK", "Words", "find_words", "ngrams_of", "sentence_starts", "words_in"]

WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)*")
BREAK = "\0"
ENDINGS = (".", "!", "?", "\n", "。")
LONGEST_SENTENCE = 48


class Words(NamedTuple):
    """words: folded;  tokens: [words] index of the token in which each begins."""

    words: list[str]
    tokens: np.ndarray


def words_in(text: str) -> list[str]:
    """The folded words of a text."""
    return WORD.findall(text.casefold())


def find_words(pieces: Sequence[str]) -> Words:
    """The words of a text given as pieces, with the token in which each begins."""
    folded = [piece.casefold() for piece in pieces]
    ends = np.cumsum([len(piece) for piece in folded], dtype=np.int64)
    found = list(WORD.finditer("".join(folded)))
    starts = np.array([match.start() for match in found], dtype=np.int64)
    return Words([match.group() for match in found], np.searchsorted(ends, starts, side="right"))


def sentence_starts(pieces: Sequence[str]) -> list[int]:
    """The tokens at which a sentence begins; one that grows beyond ``LONGEST_SENTENCE`` tokens is cut."""
    starts = [0] if pieces else []
    for at, piece in enumerate(pieces[:-1], start=1):
        ends = piece == BREAK or piece.rstrip(" ").endswith(ENDINGS)
        if ends or at - starts[-1] >= LONGEST_SENTENCE:
            starts.append(at)
    return starts


def ngrams_of(words: Sequence[str], longest: int) -> list[str]:
    """All runs of 1 to ``longest`` words, joined by spaces."""
    return [
        " ".join(words[start : start + size])
        for size in range(1, longest + 1)
        for start in range(len(words) - size + 1)
    ]
