"""Quality over the whole set, by the formulas written out by hand."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from featurehub.dictionary import Dictionary
from featurehub.errors import InvalidInput
from saes.evaluate import decades, evaluate


def streams(*sizes: int) -> list[torch.Tensor]:
    g = torch.Generator().manual_seed(4)
    return [torch.randn(size, 16, generator=g) * 3 + i for i, size in enumerate(sizes)]


def test_quality_equals_the_formulas_by_hand(dictionary: Dictionary) -> None:
    x = torch.cat(streams(50, 7, 120)).double()
    a = dictionary.encode(x.float()).double()
    x_hat = a @ dictionary.W_dec.double() + dictionary.b_dec.double()
    error = (x - x_hat).square().sum(dim=1).mean()
    variance = x.square().sum(dim=1).mean() - x.mean(dim=0).square().sum()
    quality = evaluate(dictionary, streams(50, 7, 120))
    assert quality.explained_variance == pytest.approx(float(1 - error / variance), rel=1e-5)
    assert quality.l0 == pytest.approx(float((a > 0).sum(dim=1).double().mean()))
    assert quality.dead == pytest.approx(float((~(a > 0).any(dim=0)).double().mean()))
    assert quality.dead > 0
    assert quality.tokens == 177
    assert quality.fvu == pytest.approx(float(error / variance), rel=1e-5)
    assert quality.mse == pytest.approx(float(error), rel=1e-5)
    cosines = [float(each @ hat / each.norm() / hat.norm()) for each, hat in zip(x, x_hat, strict=True) if hat.any()]
    assert quality.cosine_similarity == pytest.approx(sum(cosines) / 177, rel=1e-5)
    bias = x_hat.square().sum(dim=1).mean() / (x * x_hat).sum(dim=1).mean()
    assert quality.relative_reconstruction_bias == pytest.approx(float(bias), rel=1e-5)


@given(cuts=st.lists(st.integers(1, 100), max_size=5))
def test_how_the_set_is_cut_into_batches_does_not_matter(dictionary: Dictionary, cuts: list[int]) -> None:
    [whole] = streams(101)
    parts = [part for part in whole.tensor_split(sorted(cuts)) if len(part)]
    cut, one = evaluate(dictionary, parts), evaluate(dictionary, [whole])
    assert cut.model_dump() == pytest.approx(one.model_dump(), rel=1e-6)


def test_an_sae_that_halves_has_half_the_bias_and_keeps_every_direction() -> None:
    eye, zero = torch.eye(4), torch.zeros(4)
    x = torch.rand(100, 4, generator=torch.Generator().manual_seed(0)) + 0.1
    halved = evaluate(Dictionary(eye, eye / 2, zero, zero, zero), [x])
    assert halved.relative_reconstruction_bias == pytest.approx(0.5)
    assert halved.cosine_similarity == pytest.approx(1.0)


def test_an_sae_that_says_nothing_has_no_bias_and_no_direction() -> None:
    eye, zero = torch.eye(4), torch.zeros(4)
    silent = evaluate(
        Dictionary(eye, eye, zero, zero, torch.full((4,), 1e6)), [torch.ones(3, 4) * torch.arange(3)[:, None]]
    )
    assert (silent.relative_reconstruction_bias, silent.cosine_similarity, silent.dead) == (0.0, 0.0, 1.0)


def test_without_a_token_there_is_no_quality(dictionary: Dictionary) -> None:
    with pytest.raises(InvalidInput, match="no ordinary token"):
        evaluate(dictionary, [])


def test_every_live_latent_is_in_the_decade_of_its_density() -> None:
    assert decades(np.array([0.0, 1e-3, 9e-3, 0.05, 0.1, 1.0, 0.0, 2e-6])) == {
        -6: 1 / 8,
        -3: 2 / 8,
        -2: 1 / 8,
        -1: 2 / 8,
    }
    assert decades(np.zeros(3)) == {}


def test_a_perfect_sae_explains_everything_and_an_empty_one_nothing() -> None:
    eye, zero = torch.eye(4), torch.zeros(4)
    x = torch.rand(100, 4, generator=torch.Generator().manual_seed(0)) + 0.1
    assert evaluate(Dictionary(eye, eye, zero, zero, zero), [x]).explained_variance == pytest.approx(1.0)
    empty = Dictionary(eye, eye, zero, x.mean(dim=0), torch.full((4,), 1e6))
    assert evaluate(empty, [x]).explained_variance == pytest.approx(0.0, abs=1e-5)
