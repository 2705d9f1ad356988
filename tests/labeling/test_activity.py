"""Mean activations on words against a loop over their tokens, and which words are evidence."""

import numpy as np
import pytest

from labeling import Corpus
from labeling.activity import PRIOR, WordActivity
from labeling.evidence import gather
from labeling.words import find_words


def test_means_are_those_of_a_loop(corpus: Corpus) -> None:
    words, latents = ["loan", "storm", "the", "nowhere"], [0, 4, 5]
    dense = corpus.matrix.toarray()
    sums, counts = np.zeros((len(words), len(latents))), np.zeros(len(words))
    for offset, pieces in zip(corpus.offsets, corpus.pieces, strict=False):
        for word, token in zip(*find_words(pieces), strict=True):
            if word in words:
                sums[words.index(word)] += dense[offset + token, latents]
                counts[words.index(word)] += 1
    assert counts[:3].min() > 0
    assert WordActivity(corpus, words).means(latents) == pytest.approx(sums / (counts + PRIOR)[:, None], rel=1e-5)


def test_a_latent_is_most_active_on_its_own_words(corpus: Corpus) -> None:
    banking, storm, always = gather(corpus, [0, 4, 5])
    assert {"loan", "teller", "vault", "cheque", "deposit"} <= set(banking.active)
    assert storm.active == ("storm",)
    assert not always.active


def test_it_may_be_measured_on_other_activations_of_the_same_documents(corpus: Corpus) -> None:
    order = [2, 1, 0, *range(3, 8)]
    [banking] = gather(corpus, [0], tokens=corpus._replace(matrix=corpus.matrix[:, order]))
    assert {ngram.text for ngram in banking.ngrams} & {"loan", "teller"}
    assert not banking.active
