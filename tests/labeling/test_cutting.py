"""Sentences, parts and passages."""

import numpy as np
from scipy.sparse import csr_matrix

from labeling import Corpus
from labeling.cutting import cut


def corpus_of(*documents: list[str]) -> Corpus:
    """Every token but special ones is active."""
    silent = [not piece for document in documents for piece in document]
    matrix = csr_matrix(~np.array(silent, dtype=bool)[:, None], dtype=np.float32)
    return Corpus(documents, matrix, np.cumsum([0, *map(len, documents)]))


def test_a_chat_has_parts_and_a_part_has_sentences() -> None:
    found = cut(corpus_of(["", " hi", "", " one", ".", " two", "!", "?", ""], ["", " next"]))
    assert found.words == [["hi"], ["one"], ["two"], ["next"]]
    assert found.documents.tolist() == [0, 0, 0, 1]
    assert found.parts.tolist() == [0, 1, 1, 2]
    assert found.sentence_of.tolist() == [-1, 0, 0, 1, 1, 2, 2, -1, -1, -1, 3]
    assert found.texts == ["\n hi\n one. two!?\n", "\n next"]


def test_long_documents_are_cut_into_even_passages_of_whole_sentences() -> None:
    document = [" a", " b", " c", "."] * 10
    found = cut(corpus_of(document, [" x"]), passage=16)
    assert np.bincount(found.passage_of).tolist() == [12, 16, 12, 1]
    assert found.passages.tolist() == [0] * 3 + [1] * 4 + [2] * 3 + [3]
    assert "".join(found.texts) == "".join([*document, " x"])


def test_an_empty_corpus() -> None:
    found = cut(corpus_of())
    assert (found.words, found.texts, len(found.parts)) == ([], [], 0)
