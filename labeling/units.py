"""A corpus as units of text, each with its n-grams and with how strongly every latent fires in it.

1. Firing is graded: with p the latent's largest activation in a unit, it is min(1, p / strong), where strong is the
   ``STRONG`` quantile of the latent's positive passage peaks; so weak flickers hardly count. Where a yes or no is
   needed, the latent fires from half of strong on.
2. There are three views of what a latent fires on (see ``labeling.cutting`` for passages, sentences and parts):
   passages: the n-grams of a passage, and the firing in it;
   sentences: the n-grams of a sentence, and the firing in it, which gives the words around the peaks;
   requests: the n-grams of all parts before a part, and the firing in that part, which gives what was asked for.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from scipy.sparse import csc_matrix, csr_matrix

from featurehub.scratch import ScratchArray
from featurehub.sparse import columns_of, spans
from labeling.corpus import Corpus, peak_levels, pool
from labeling.cutting import Cut, cut
from labeling.words import ngrams_of

__all__ = ["Units", "Views", "build_views"]

STRONG = 0.95


class Units(NamedTuple):
    """Units of text with their n-grams and firings; its length is the number of units.

    Attributes:
        terms: [units, n-grams] 1 where the unit has the n-gram, else 0.
        firing: [units, d_sae] graded firing, in [0, 1].
    """

    terms: csr_matrix
    firing: csc_matrix

    def __len__(self) -> int:
        return self.terms.get_shape()[0]


class Views(NamedTuple):
    """Three views of a corpus on the same n-grams.

    Attributes:
        names: The text of each n-gram.
        strong: [d_sae] the activation at which each latent fires fully; infinite for one that never fires.
        peaks: [passages, d_sae] largest activations.
        passages: The passages.
        sentences: The sentences.
        requests: Every part that follows another, with the n-grams of the parts before it.
    """

    names: list[str]
    strong: np.ndarray
    peaks: csc_matrix
    passages: Units
    sentences: Units
    requests: Units


def build_views(corpus: Corpus, longest: int, min_documents: int) -> Views:
    """Builds the three views of a corpus.

    Args:
        corpus: The corpus.
        longest: Words of the longest n-gram.
        min_documents: Documents that an n-gram must occur in.
    """
    pieces = cut(corpus)
    vocabulary, terms = count_ngrams(pieces.words, longest)
    in_documents = any_of(pieces.documents, len(corpus.documents), terms)
    common = np.flatnonzero(np.asarray(in_documents.sum(axis=0)).ravel() >= min_documents)
    terms = terms[:, common]
    columns = columns_of(corpus.matrix)
    peaks = pool(columns, pieces.passage_of, len(pieces.texts))
    strong = peak_levels(peaks, STRONG)
    in_sentences = pool(columns, pieces.sentence_of, len(pieces.words))
    return Views(
        names=[vocabulary[at] for at in common.tolist()],
        strong=strong,
        peaks=peaks,
        passages=Units(any_of(pieces.passages, len(pieces.texts), terms), graded(peaks, strong)),
        sentences=Units(terms, graded(in_sentences, strong)),
        requests=requests_of(columns, pieces, terms, strong),
    )


def requests_of(columns: csc_matrix, pieces: Cut, terms: csr_matrix, strong: np.ndarray) -> Units:
    """Every part that follows another in its document, with the n-grams of all parts before it."""
    first = np.unique(pieces.parts, return_index=True)[1]
    documents = pieces.documents[first]
    begins = np.searchsorted(documents, documents)
    follows = np.flatnonzero(begins < np.arange(len(first)))
    before = [np.arange(begins[part], part) for part in follows]
    owners = np.repeat(np.arange(len(follows)), [len(each) for each in before])
    earlier = np.concatenate(before) if before else follows
    in_parts = any_of(pieces.parts, len(first), terms)
    place = np.full(len(first) + 1, -1)
    place[follows] = np.arange(len(follows))
    part_of = np.where(pieces.sentence_of >= 0, pieces.parts[pieces.sentence_of], -1)
    peaks = pool(columns, place[part_of], len(follows))
    return Units(any_of(owners, len(follows), in_parts[earlier]), graded(peaks, strong))


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
    """[count, n-grams]: 1 where any row of an owner has the n-gram."""
    ones = np.ones(len(owners), np.float32)
    members = csr_matrix((ones, (owners, np.arange(len(owners)))), shape=(count, len(owners)))
    found = csr_matrix(members @ terms)
    found.data.fill(1.0)
    return found


def graded(peaks: csc_matrix, strong: np.ndarray) -> csc_matrix:
    """Step 1, on disk beside the peaks."""
    firing = ScratchArray(np.float32)
    for start, stop in spans(peaks.indptr):
        levels = np.repeat(strong[start:stop], np.diff(peaks.indptr[start : stop + 1]))
        firing.add(np.minimum(1.0, peaks.data[peaks.indptr[start] : peaks.indptr[stop]] / levels))
    return csc_matrix((firing.mapped(), peaks.indices, peaks.indptr), shape=peaks.get_shape())
