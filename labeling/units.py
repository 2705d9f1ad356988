"""A corpus as units of text, each with its n-grams and with how strongly every latent fires in it.

1. A document is cut into *parts* at its special tokens (the turns of a chat), a part into *sentences*.
2. Firing is graded: with p the latent's largest activation in a unit, it is min(1, p / reference). The reference is
   half of a usual strong peak, the ``STRONG`` quantile of the latent's positive document peaks; so weak flickers hardly
   count, and all strong units count 1.
3. Three views of what a latent fires on:
   documents:  n-grams of a document,               firing in it
   sentences:  n-grams of a sentence,               firing in it: the words around the peaks
   requests:   n-grams of all parts before a part,  firing in that part: what was asked for before it came
"""

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from scipy.sparse import csc_matrix, csr_matrix

from labeling.corpus import Corpus, peak_levels, pool
from labeling.words import find_words, ngrams_of, sentence_starts

__all__ = ["Units", "Views", "build_views"]

STRONG = 0.95


class Units(NamedTuple):
    """terms: [units, n-grams] 0 or 1;  firing: [units, d_sae] in [0, 1]."""

    terms: csr_matrix
    firing: csc_matrix

    def __len__(self) -> int:
        return self.terms.get_shape()[0]


class Views(NamedTuple):
    """names: of the n-grams;  references: [d_sae];  peaks: [documents, d_sae] largest activations."""

    names: list[str]
    references: np.ndarray
    peaks: csc_matrix
    documents: Units
    sentences: Units
    requests: Units


class Sentences(NamedTuple):
    """Those sentences of a corpus that have words.

    words:     of each sentence
    documents: [sentences] that each belongs to
    parts:     [sentences] that each belongs to, counted over the corpus
    tokens:    [tokens] the sentence of each row, -1 for none
    """

    words: list[list[str]]
    documents: np.ndarray
    parts: np.ndarray
    tokens: np.ndarray


def build_views(corpus: Corpus, longest: int, min_documents: int) -> Views:
    """The views of a corpus, on n-grams of up to ``longest`` words that at least ``min_documents`` documents have."""
    sentences = cut(corpus)
    vocabulary, terms = count_ngrams(sentences.words, longest)
    in_documents = any_of(sentences.documents, len(corpus.documents), terms)
    common = np.flatnonzero(np.asarray(in_documents.sum(axis=0)).ravel() >= min_documents)
    terms = terms[:, common]
    peaks = corpus.peaks()
    references = peak_levels(peaks, STRONG) / 2
    return Views(
        names=[vocabulary[at] for at in common.tolist()],
        references=references,
        peaks=peaks,
        documents=Units(in_documents[:, common], graded(peaks, references)),
        sentences=Units(terms, graded(pool(corpus.matrix, sentences.tokens, len(sentences.words)), references)),
        requests=requests_of(corpus, sentences, terms, references),
    )


def requests_of(corpus: Corpus, sentences: Sentences, terms: csr_matrix, references: np.ndarray) -> Units:
    """Every part that follows another in its document, with the n-grams of all parts before it."""
    first = np.unique(sentences.parts, return_index=True)[1]
    documents = sentences.documents[first]
    begins = np.searchsorted(documents, documents)
    follows = np.flatnonzero(begins < np.arange(len(first)))
    before = [np.arange(begins[part], part) for part in follows]
    owners = np.repeat(np.arange(len(follows)), [len(each) for each in before])
    earlier = np.concatenate(before) if before else follows
    in_parts = any_of(sentences.parts, len(first), terms)
    parts = np.where(sentences.tokens >= 0, sentences.parts[sentences.tokens], -1)
    peaks = pool(corpus.matrix, parts, len(first))
    return Units(any_of(owners, len(follows), in_parts[earlier]), graded(peaks[follows], references))


def cut(corpus: Corpus) -> Sentences:
    """Step 1."""
    words: list[list[str]] = []
    documents: list[int] = []
    parts: list[int] = []
    tokens = np.full(int(corpus.offsets[-1]), -1, dtype=np.int64)
    part = -1
    for document, pieces in enumerate(corpus.documents):
        begins = sentence_starts(pieces)
        found, positions = find_words(pieces)
        bounds = np.searchsorted(positions, [*begins, len(pieces)]).tolist()
        offset = int(corpus.offsets[document])
        for (begin, end), (start, stop) in zip(pairwise([*begins, len(pieces)]), pairwise(bounds), strict=True):
            part += begin == 0 or not pieces[begin - 1]
            if start < stop:
                tokens[offset + begin : offset + end] = len(words)
                words.append(found[start:stop])
                documents.append(document)
                parts.append(part)
    numbered = np.unique(np.array(parts, dtype=np.int64), return_inverse=True)[1]
    return Sentences(words, np.array(documents, dtype=np.int64), numbered, tokens)


def count_ngrams(sentences: Iterable[Sequence[str]], longest: int) -> tuple[list[str], csr_matrix]:
    """All n-grams in the order of their first appearance, and [sentences, n-grams] 0 or 1."""
    vocabulary: dict[str, int] = {}
    indices: list[int] = []
    ends = [0]
    for words in sentences:
        # A dictionary and not a set: its order is the same in every run.
        indices += dict.fromkeys(vocabulary.setdefault(each, len(vocabulary)) for each in ngrams_of(words, longest))
        ends.append(len(indices))
    ones = np.ones(len(indices), dtype=np.float32)
    return list(vocabulary), csr_matrix((ones, indices, ends), shape=(len(ends) - 1, len(vocabulary)))


def any_of(owners: np.ndarray, count: int, terms: csr_matrix) -> csr_matrix:
    """[count, n-grams]: which n-grams any row of each owner has."""
    ones = np.ones(len(owners), np.float32)
    members = csr_matrix((ones, (owners, np.arange(len(owners)))), shape=(count, len(owners)))
    found = csr_matrix(members @ terms)
    found.data.fill(1.0)
    return found


def graded(peaks: csr_matrix | csc_matrix, references: np.ndarray) -> csc_matrix:
    """Step 2."""
    columns = csc_matrix(peaks)
    latents = np.repeat(np.arange(columns.get_shape()[1]), np.diff(columns.indptr))
    data = np.minimum(1.0, columns.data / references[latents]).astype(np.float32)
    return csc_matrix((data, columns.indices, columns.indptr), shape=columns.get_shape())
