"""Output scores against a model of two lines, whose probabilities are computed by hand."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from featurehub.artifacts.manifest import HookPoint
from featurehub.edits import Steering
from labeling.bench import Candidate
from labeling.output_score import Continuation, LabelTokens, OutputScores, expected_steerability
from labeling.unembedding import Unembedding
from tests.labels import parted

VOCABULARY = ["<s>", "sea", " sea", "Sea", " Sea", " ship", "ship", " the", " ", "land"]
WIDTH, NORM, DOSE = 6, 20.0, 0.5
END = HookPoint(layer=3)
CONTINUATIONS = [Continuation([0, 7], [2, 5, 7]), Continuation([0], [9, 1])]
DRAW = torch.Generator().manual_seed(4)
EMBEDDING, W_U, W_DEC = (torch.randn(n, WIDTH, generator=DRAW) for n in (len(VOCABULARY), len(VOCABULARY), 3))


class Letters:
    """A tokenizer that knows the vocabulary; of what it does not know it writes the space apart."""

    def encode(self, text: str, add_special_tokens: bool) -> list[int]:
        assert not add_special_tokens
        if text in VOCABULARY:
            return [VOCABULARY.index(text)]
        space, word = (text[:1], text[1:]) if text.startswith(" ") else ("", text)
        return [VOCABULARY.index(each) for each in (space, word) if each in VOCABULARY]

    def decode(self, ids: Sequence[int]) -> str:
        return "".join(VOCABULARY[each] for each in ids)


class Additive:
    """The stream after the last layer is the embedding and whatever was added before it."""

    def capture(
        self, documents: Sequence[Sequence[int]], *points: HookPoint, steerings: Sequence[Steering] = ()
    ) -> list[Tensor]:
        assert points == (END,)
        added = (sum(e.value * W_DEC[e.latent] for e in s.edits) for s in steerings)
        return [EMBEDDING[list(d)] + delta for d, delta in zip(documents, added, strict=True)]


def candidate(latent: int, label: str) -> Candidate:
    return Candidate(latent, parted(label), label, 1.0, float(W_DEC[latent].norm()))


@pytest.fixture
def scores() -> OutputScores:
    unembedding = Unembedding(lambda rows: rows * 2.0, W_U.numpy())
    return OutputScores(Additive(), unembedding, LabelTokens(Letters()), END, CONTINUATIONS, NORM, DOSE)


def naive(feature: Candidate, weights: dict[str, float]) -> float:
    rises = []
    strength = DOSE * NORM / feature.norm
    for prompt, answer in CONTINUATIONS:
        document = prompt + answer
        for place in range(len(prompt), len(document)):
            x = EMBEDDING[document[place - 1]].double()
            before, after = (
                torch.softmax(2.0 * W_U.double() @ (x + s * W_DEC[feature.latent].double()), 0) for s in (0.0, strength)
            )
            rises.append(
                sum(w * float(after[i] - before[i]) for t, w in weights.items() for i in [VOCABULARY.index(t)])
            )
    return float(np.mean(rises))


@pytest.mark.parametrize(
    ("label", "weights"),
    [
        ("sea: ship", {"sea": 1.0, " sea": 1.0, "Sea": 1.0, " Sea": 1.0, "ship": 0.5, " ship": 0.5}),
        ("ship: sea", {"sea": 0.5, " sea": 0.5, "Sea": 0.5, " Sea": 0.5, "ship": 1.0, " ship": 1.0}),
        # " land" is no token: the space before it is not its beginning.
        ("land: land", {"land": 1.0}),
        ("zebra", {}),
    ],
)
def test_the_score_is_the_rise_of_the_label_s_words(
    scores: OutputScores, label: str, weights: dict[str, float]
) -> None:
    features = [candidate(latent, label) for latent in range(3)]
    found = scores.of(features)
    assert found.keys() == {0, 1, 2}
    for feature in features:
        assert found[feature.latent] == pytest.approx(naive(feature, weights), abs=1e-5)
    assert bool(weights) == any(abs(score) > 1e-4 for score in found.values())


def test_what_is_expected_rises_with_the_score_and_is_what_features_like_it_had() -> None:
    scores = {latent: latent / 100 for latent in range(40)}
    steered: dict[int, float] = {latent: (0.9 if latent >= 20 else 0.1) for latent in range(0, 40, 2)}
    found = expected_steerability(scores, steered)
    assert found.keys() == set(range(1, 40, 2))
    assert [found[latent] for latent in sorted(found)] == sorted(found.values())
    assert found[5] == pytest.approx(0.1)
    assert found[33] == pytest.approx(0.9)
    assert found[39] == pytest.approx(0.9), "beyond all that were steered"


@pytest.mark.parametrize("steered", [{}, dict.fromkeys(range(11), 0.5), dict.fromkeys(range(100, 140), 0.5)])
def test_of_too_few_that_were_steered_nothing_is_expected(steered: dict[int, float]) -> None:
    assert expected_steerability(dict.fromkeys(range(40), 0.1), steered) == {}


def test_a_negative_effect_lets_expect_none() -> None:
    steered: dict[Any, float] = dict.fromkeys(range(20), -0.04)
    found = expected_steerability({latent: float(latent) for latent in range(30)}, steered)
    assert set(found.values()) == {0.0}
