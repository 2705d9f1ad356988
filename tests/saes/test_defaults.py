"""What is trained where nobody says, from the bundled model's width to that of large ones."""

import pytest

from saes.architecture import Architecture
from saes.defaults import default_recipe, default_tokens


@pytest.mark.parametrize(
    ("d_model", "d_sae", "k", "lr"), [(64, 256, 12, 2e-3), (192, 768, 12, 2e-3), (4096, 16_384, 64, 4.33e-4)]
)
def test_the_numbers_follow_the_width(d_model: int, d_sae: int, k: float, lr: float) -> None:
    recipe = default_recipe(d_model)
    assert (recipe.architecture, recipe.d_sae, recipe.k) == (Architecture.BATCHTOPK, d_sae, k)
    assert recipe.lr == pytest.approx(lr, rel=1e-3)
    assert recipe.parent is None


def test_k_stays_below_the_latents() -> None:
    assert default_recipe(64, d_sae=2).k == 1.0


def test_what_is_asked_for_is_taken() -> None:
    recipe = default_recipe(64, architecture=Architecture.TOPK, d_sae=100, k=5.0, lr=1e-3, seed=7)
    assert recipe.model_dump() == {
        "architecture": "topk", "d_sae": 100, "k": 5.0, "lr": 1e-3, "seed": 7, "dead_after": 20, "parent": None,
    }  # fmt: skip


def test_wide_saes_see_more_tokens() -> None:
    assert (default_tokens(256), default_tokens(16_384)) == (1_600_000, 32_768_000)
