"""The vocabulary projection against its formula."""

import numpy as np
import pytest

from labeling.logit_lens import project


def test_strongest_tokens_follow_the_formula() -> None:
    random = np.random.default_rng(0)
    W_dec, norm, unembed = random.normal(size=(300, 8)), random.normal(size=8), random.normal(size=(40, 8))
    projection = project(W_dec, norm, unembed, [f"t{at}" for at in range(38)], count=3)
    logits = unembed[:38] @ (norm * W_dec[299] / np.sqrt(np.mean(W_dec[299] ** 2)))
    order = np.argsort(-logits)
    assert [each.token for each in projection.top[299]] == [f"t{at}" for at in order[:3]]
    assert [each.token for each in projection.bottom[299]] == [f"t{at}" for at in order[::-1][:3]]
    assert projection.top[299][0].logit == pytest.approx(logits.max(), rel=1e-4)
    assert projection.bottom[299][0].logit == pytest.approx(logits.min(), rel=1e-4)
    assert len(projection.top) == len(projection.bottom) == 300


def test_small_vocabulary_is_listed_whole() -> None:
    projection = project(np.ones((1, 2)), np.ones(2), np.eye(2), ["a", "b"], count=5)
    assert [each.token for each in projection.top[0]] == ["a", "b"]
