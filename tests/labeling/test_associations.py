"""Which latents words go with: the formula, and what a search would find by it."""

import numpy as np
import pytest

from labeling import Corpus
from labeling.associations import KEPT, LEAST, PRIOR, RARE, WordVectors, associate, lending
from labeling.units import Units, build_views


def test_words_go_with_the_latents_that_fire_where_they_occur(corpus: Corpus) -> None:
    words = associate(corpus)
    for topic, own in (("loan", 0), ("rain", 1), ("choir", 2)):
        assert words[topic][0][0] == own
    assert [latent for latent, _ in words["storm"]][:2] == [4, 1]
    assert "good" not in words
    assert all(len(each) <= KEPT and each[-1][1] >= LEAST for each in words.values())


def naive(corpus: Corpus, lent: np.ndarray | None = None) -> dict[str, np.ndarray]:
    """C of every word, [d_sae]."""
    views = build_views(corpus, 1, 1)
    count = len(views.names)
    A = [np.stack([naive_in(units, word) for word in range(count)]) for units in (views.sentences, views.requests)]
    B = np.max(A if lent is None else [lent @ each for each in A], axis=0)
    share = views.sentences.terms.toarray().mean(axis=0)
    C = (B - B.mean(axis=0)) * np.minimum(1.0, np.log(share) / np.log(RARE))[:, None]
    return dict(zip(views.names, C, strict=True))


def naive_in(units: Units, word: int) -> np.ndarray:
    """A of one word in sentences or in requests, [d_sae]."""
    firing, has = units.firing.toarray(), units.terms.toarray()[:, word] > 0
    std = firing.std(axis=0)
    z = (firing - firing.mean(axis=0)) / (std + std.mean())
    return z[has].sum(axis=0) / (has.sum() + PRIOR)


def kept(much: np.ndarray) -> dict[int, float]:
    return {i: float(value) for i, value in enumerate(much) if value >= LEAST}


@pytest.mark.parametrize("word", ["loan", "branch", "storm", "the"])
def test_the_formula(corpus: Corpus, word: str) -> None:
    assert dict(associate(corpus).get(word, ())) == pytest.approx(kept(naive(corpus)[word]), rel=5e-3, abs=1e-3)


def test_words_that_the_model_holds_alike_lend_each_other(corpus: Corpus) -> None:
    vocabulary = [" loan", " choir", " rain", "choir", " two words", " unheard"]
    unembed = np.array([[1, 0, 0], [0.5, 0.5, 0], [0, 0, 1], [5, 5, 5], [1, 1, 1], [-1, 2, 0]], dtype=np.float32)
    vectors = WordVectors.of(vocabulary, unembed, ["rain", "loan", "choir", "cloud"])
    assert vectors.places == {"rain": 0, "loan": 1, "choir": 2}
    centred = unembed[[2, 0, 1]] - unembed.mean(axis=0)
    np.testing.assert_allclose(vectors.rows, centred / np.linalg.norm(centred, axis=1, keepdims=True), rtol=1e-5)
    share = lending(["choir", "cloud", "rain", "loan"], vectors).toarray()
    assert np.diag(share).tolist() == [1.0] * 4
    assert share[1].sum() == share[:, 1].sum() == 1.0
    assert share[0, 3] == pytest.approx(float(vectors.rows[2] @ vectors.rows[1]), abs=1e-5)
    found = associate(corpus, vocabulary, unembed)
    names = build_views(corpus, 1, 1).names
    wanted = naive(corpus, lending(names, WordVectors.of(vocabulary, unembed, names)).toarray())
    for word in ("loan", "choir", "rain"):
        assert dict(found.get(word, ())) == pytest.approx(kept(wanted[word]), rel=5e-3, abs=2e-3)


def test_the_same_corpus_gives_the_same_words(corpus: Corpus) -> None:
    assert associate(corpus) == associate(corpus)
