"""Agreement against its formula, and what it picks."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import csc_matrix, csr_matrix
from sklearn.metrics import cohen_kappa_score

from labeling import Corpus
from labeling.evidence import gather, kappa, largest
from labeling.units import Units, build_views


def test_agreement_is_cohens_kappa() -> None:
    random = np.random.default_rng(0)
    terms, fires = random.random((60, 3)) < 0.4, random.random((60, 2)) < 0.3
    units = Units(csr_matrix(terms, dtype=np.float32), csc_matrix(fires, dtype=np.float32))
    expected = [[cohen_kappa_score(terms[:, w], fires[:, i]) for i in range(2)] for w in range(3)]
    assert kappa(units, [0, 1]) == pytest.approx(np.array(expected), abs=1e-6)


def test_what_always_comes_agrees_with_nothing() -> None:
    units = Units(csr_matrix(np.ones((5, 1))), csc_matrix(np.ones((5, 1))))
    assert kappa(units, [0]).tolist() == [[0.0]]


def test_views_of_a_chat() -> None:
    documents = [["", " ask", " music", "", " a", " song", ".", " more", "."], ["", " ask", " rain", "", " wet", "."]]
    matrix = csr_matrix(np.array([[0, 0, 0, 0, 0, 4, 0, 0, 0] + [0] * 6, [0] * 14 + [1]], dtype=np.float32).T)
    views = build_views(Corpus(documents, matrix, np.array([0, 9, 15])), longest=1, min_documents=1)
    assert views.names == ["ask", "music", "a", "song", "more", "rain", "wet"]
    assert views.passages.terms.toarray().tolist() == [[1, 1, 1, 1, 1, 0, 0], [1, 0, 0, 0, 0, 1, 1]]
    assert views.passages.firing.toarray().tolist() == [[1, 0], [0, 1]]
    assert views.sentences.terms.sum(axis=1).ravel().tolist() == [[2, 2, 1, 2, 1]]
    assert views.sentences.firing.toarray()[:, 0].tolist() == [0, 1, 0, 0, 0]
    assert views.requests.terms.toarray().tolist() == [[1, 1, 0, 0, 0, 0, 0], [1, 0, 0, 0, 0, 1, 0]]
    assert views.requests.firing.toarray().tolist() == [[1, 0], [0, 1]]


def test_without_special_tokens_there_are_no_requests(corpus: Corpus) -> None:
    plain = corpus._replace(documents=[[piece or " ," for piece in pieces] for pieces in corpus.documents])
    assert len(build_views(plain, 1, 1).requests) == 0
    assert len(build_views(corpus, 1, 1).requests) == len(corpus.documents)


def test_name_comes_before_its_words(corpus: Corpus) -> None:
    banking, always = gather(corpus, [0, 5])
    assert banking.ngrams[0].text in ("banking", "about banking")
    assert {"loan", "teller", "vault"} <= {ngram.text for ngram in banking.ngrams}
    assert not always.ngrams


@given(st.lists(st.sampled_from([-0.5, 0.0, 0.25, 1.0]), max_size=30), st.integers(1, 8))
def test_the_largest_are_those_of_a_sort(values: list[float], count: int) -> None:
    array = np.array(values)
    assert largest(array, count).tolist() == np.argsort(-array, kind="stable")[:count].tolist()
