"""Exchanging features in a stream: against a twin, and what the SAE then sees."""

import pytest
import torch

from featurehub.dictionary import Dictionary
from featurehub.errors import InvalidInput
from featurehub.features import Feature
from featurehub.runs.exchange import Exchange, choose_pairs

WIDTH = 6


def orthogonal() -> Dictionary:
    """An SAE that reads each dimension of the stream by itself, where it is more than .5."""
    rows = torch.eye(WIDTH)
    return Dictionary(rows, rows, torch.zeros(WIDTH), torch.zeros(WIDTH), torch.full((WIDTH,), 0.5))


def random_dictionary() -> Dictionary:
    made = torch.Generator().manual_seed(0)
    W_enc, W_dec = (torch.randn(WIDTH, WIDTH, generator=made) for _ in range(2))
    return Dictionary(W_enc, W_dec, torch.zeros(WIDTH), torch.randn(WIDTH, generator=made), torch.rand(WIDTH))


def feature(latent: int, label: str = "a label", density: float = 0.01, score: float | None = 0.5) -> Feature:
    return Feature(
        id=str(latent), label=label, label_version=1, slug=str(latent), artifact="a", latent=latent, density=density,
        max_activation=1.0, label_score=score,
    )  # fmt: skip


def test_the_change_is_the_sum_over_pairs() -> None:
    dictionary, x = random_dictionary(), torch.randn(2, 3, WIDTH)
    found = Exchange(dictionary, [(0, 4), (5, 1)], far=1.5)(x)
    for row, wanted in zip(x.flatten(0, 1), found.flatten(0, 1), strict=True):
        a = dictionary.encode(row[None])[0]
        for i, j in ((0, 4), (5, 1)):
            row = row + 1.5 * (a[j] - a[i]) * (dictionary.W_dec[i] - dictionary.W_dec[j])
        assert torch.allclose(row, wanted, atol=1e-5)


def test_features_that_do_not_disturb_each_other_change_places() -> None:
    dictionary, x = orthogonal(), torch.tensor([[[2.0, 0.1, 3.0, 0.0, 0.7, 0.2]]])
    a = dictionary.encode(Exchange(dictionary, [(0, 3), (2, 4)], far=1.0)(x)[0])[0]
    assert a.tolist() == pytest.approx([0.0, 0.0, 0.7, 2.0, 3.0, 0.0])


def test_pairs_are_drawn_from_the_best_labels_that_fire_now_and_then() -> None:
    features = [feature(latent, score=latent / 100) for latent in range(40)]
    unfit = [feature(90, label=""), feature(91, density=0.2), feature(92, density=0.0001), feature(93, score=None)]
    pairs = choose_pairs([*unfit, *features], 3, seed=1)
    latents = [each.latent for pair in pairs for each in pair]
    assert pairs == choose_pairs([*features, *unfit], 3, seed=1) != choose_pairs(features, 3, seed=2)
    assert len(set(latents)) == 6
    assert set(latents) <= set(range(16, 40))


def test_too_few_features_are_refused_with_how_many_there_are() -> None:
    with pytest.raises(InvalidInput, match=r"3 pairs take 6 features .* the SAE has 5"):
        choose_pairs([feature(latent) for latent in range(5)], 3, seed=1)
