"""Cuts documents into the contexts on which labels are made and scored.

1. A document is cut into *sentences*: at marks that end one, and at special tokens.
2. *Parts* are what lies between special tokens: the turns of a chat.
3. *Passages* are runs of whole sentences. A document longer than ``PASSAGE`` tokens is cut into as many as needed, of
   about equal length (otherwise a short rest would differ from the others by its length). In long documents nearly
   every latent fires somewhere; a passage is short enough to say something, and long enough to hold more than a peak.
"""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from labeling.corpus import Corpus
from labeling.words import BREAK, find_words, sentence_starts

__all__ = ["Cut", "cut"]

PASSAGE = 128


class Cut(NamedTuple):
    """A corpus cut into sentences, parts and passages. Only sentences that have words are counted.

    Attributes:
        words: The folded words of each sentence.
        documents: [sentences] the document of each sentence.
        parts: [sentences] the part of each sentence, numbered through the corpus.
        passages: [sentences] the passage of each sentence, numbered through the corpus.
        sentence_of: [tokens] the sentence of each row, -1 for none.
        passage_of: [tokens] the passage of each row.
        texts: [passages] the text of each passage, with special tokens as line breaks.
    """

    words: list[list[str]]
    documents: np.ndarray
    parts: np.ndarray
    passages: np.ndarray
    sentence_of: np.ndarray
    passage_of: np.ndarray
    texts: list[str]


class SentenceSpan(NamedTuple):
    """One sentence of a document.

    Attributes:
        begin: Index of its first token.
        end: Index after its last token.
        words: Its folded words.
        begins_part: Whether a part begins with it.
        begins_passage: Whether a passage begins with it.
    """

    begin: int
    end: int
    words: list[str]
    begins_part: bool
    begins_passage: bool


def cut(corpus: Corpus, passage: int = PASSAGE) -> Cut:
    """Cuts a corpus into sentences, parts and passages.

    Args:
        corpus: The corpus.
        passage: Tokens. A longer document is cut into passages of about equal length, near this size or below.
    """
    words: list[list[str]] = []
    owners: list[tuple[int, int, int]] = []
    sentence_of = np.full(int(corpus.offsets[-1]), -1, dtype=np.int64)
    passage_of = np.zeros_like(sentence_of)
    texts: list[str] = []
    part = -1
    for document, pieces in enumerate(corpus.pieces):
        offset = int(corpus.offsets[document])
        for sentence in sentences_of(pieces, passage):
            part += sentence.begins_part
            texts += [""] * sentence.begins_passage
            texts[-1] += "".join(pieces[sentence.begin : sentence.end]).replace(BREAK, "\n")
            rows = slice(offset + sentence.begin, offset + sentence.end)
            passage_of[rows] = len(texts) - 1
            if sentence.words:
                sentence_of[rows] = len(words)
                words.append(sentence.words)
                owners.append((document, part, len(texts) - 1))
    documents, parts, passages = np.array(owners, dtype=np.int64).reshape(-1, 3).T
    # Parts without words are not counted.
    return Cut(words, documents, np.unique(parts, return_inverse=True)[1], passages, sentence_of, passage_of, texts)


def sentences_of(pieces: Sequence[str], passage: int) -> Iterator[SentenceSpan]:
    """The sentences of one document, in order; together they are all of its tokens."""
    begins = [*sentence_starts(pieces), len(pieces)]
    found, positions = find_words(pieces)
    bounds = np.searchsorted(positions, begins).tolist()
    count = -(-len(pieces) // passage)
    before = -1
    for (begin, end), (start, stop) in zip(pairwise(begins), pairwise(bounds), strict=True):
        number = (begin + end) * count // (2 * len(pieces) + 1)
        begins_part = begin == 0 or pieces[begin - 1] == BREAK
        yield SentenceSpan(begin, end, found[start:stop], begins_part, number > before)
        before = number
