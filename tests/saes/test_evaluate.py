"""Quality over the whole set, by the formulas written out by hand."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from featurehub.dictionary import Dictionary
from saes.evaluate import evaluate


def streams(*sizes: int) -> list[torch.Tensor]:
    g = torch.Generator().manual_seed(4)
    return [torch.randn(size, 16, generator=g) * 3 + i for i, size in enumerate(sizes)]


def test_quality_equals_the_formulas_by_hand(dictionary: Dictionary) -> None:
    x = torch.cat(streams(50, 7, 120)).double()
    a = dictionary.encode(x.float()).double()
    error = (x - (a @ dictionary.W_dec.double() + dictionary.b_dec.double())).square().sum(dim=1).mean()
    variance = x.square().sum(dim=1).mean() - x.mean(dim=0).square().sum()
    quality = evaluate(dictionary, streams(50, 7, 120))
    assert quality.explained_variance == pytest.approx(float(1 - error / variance), rel=1e-5)
    assert quality.l0 == pytest.approx(float((a > 0).sum(dim=1).double().mean()))
    assert quality.dead == pytest.approx(float((~(a > 0).any(dim=0)).double().mean()))
    assert quality.dead > 0
    assert quality.tokens == 177


@given(cuts=st.lists(st.integers(1, 100), max_size=5))
def test_how_the_set_is_cut_into_batches_does_not_matter(dictionary: Dictionary, cuts: list[int]) -> None:
    [whole] = streams(101)
    parts = [part for part in whole.tensor_split(sorted(cuts)) if len(part)]
    cut, one = evaluate(dictionary, parts), evaluate(dictionary, [whole])
    assert cut.explained_variance == pytest.approx(one.explained_variance, rel=1e-6)
    assert (cut.l0, cut.dead, cut.tokens) == pytest.approx((one.l0, one.dead, one.tokens))


def test_a_perfect_sae_explains_everything_and_an_empty_one_nothing() -> None:
    eye, zero = torch.eye(4), torch.zeros(4)
    x = torch.rand(100, 4, generator=torch.Generator().manual_seed(0)) + 0.1
    assert evaluate(Dictionary(eye, eye, zero, zero, zero), [x]).explained_variance == pytest.approx(1.0)
    empty = Dictionary(eye, eye, zero, x.mean(dim=0), torch.full((4,), 1e6))
    assert evaluate(empty, [x]).explained_variance == pytest.approx(0.0, abs=1e-5)
