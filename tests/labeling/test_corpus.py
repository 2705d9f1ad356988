"""Splitting and pooling, against naive twins."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import csc_matrix, csr_matrix

from featurehub.errors import InvalidInput
from labeling import Corpus
from labeling.corpus import peak_levels, pool, split
from labeling.words import BREAK


@given(st.integers(0, 1000), st.integers(1, 30), st.integers(1, 5), st.integers(1, 6))
def test_pooling_is_the_maximum_of_each_unit(seed: int, tokens: int, width: int, count: int) -> None:
    random = np.random.default_rng(seed)
    dense = random.random((tokens, width), dtype=np.float32) * (random.random((tokens, width)) < 0.4)
    owners = np.where(random.random(tokens) < 0.2, -1, np.sort(random.integers(0, count, tokens)))
    naive = np.array([np.max(dense[owners == unit], axis=0, initial=0.0) for unit in range(count)])
    assert np.array_equal(pool(csc_matrix(dense), owners, count).toarray(), naive)


def test_halves_share_no_document_and_keep_their_activations(corpus: Corpus) -> None:
    numbered = corpus._replace(documents=[[f"{at} ", *pieces[1:]] for at, pieces in enumerate(corpus.documents)])
    shown, held_out = split(numbered, 0.25, seed=1)
    first = [{document[0] for document in half.documents} for half in (shown, held_out)]
    assert (len(first[0]), len(first[1])) == (450, 150)
    assert not first[0] & first[1]
    document = int(held_out.documents[7][0])
    rows = corpus.matrix[corpus.offsets[document] : corpus.offsets[document + 1]]
    assert (held_out.matrix[held_out.offsets[7] : held_out.offsets[8]] != rows).nnz == 0
    assert split(numbered, 0.25, seed=1)[1].documents == held_out.documents


def test_levels_are_quantiles_of_positive_peaks() -> None:
    peaks = csc_matrix(np.array([[0.0, 1.0], [0.0, 3.0], [0.0, 0.0]]))
    assert peak_levels(peaks, 0.5).tolist() == [np.inf, 2.0]


def test_special_tokens_are_those_without_text_and_activations() -> None:
    matrix = csr_matrix(np.array([[0], [1], [1], [1], [0], [0]], dtype=np.float32))
    corpus = Corpus([["", " na", "", "ïve"], ["", " x"]], matrix, np.array([0, 4, 6]))
    assert list(corpus.pieces) == [[BREAK, " na", "", "ïve"], [BREAK, " x"]]


def test_a_corpus_that_does_not_fit_together_is_refused(corpus: Corpus) -> None:
    with pytest.raises(InvalidInput):
        corpus._replace(documents=corpus.documents[1:]).checked()
    with pytest.raises(InvalidInput):
        corpus._replace(matrix=corpus.matrix[1:]).checked()
