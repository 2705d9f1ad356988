"""One SAE of each architecture, made with sae-lens from the same few numbers."""

from typing import Any

import torch
from pydantic import Field
from sae_lens.saes.batchtopk_sae import BatchTopKTrainingSAE, BatchTopKTrainingSAEConfig
from sae_lens.saes.jumprelu_sae import JumpReLUTrainingSAE, JumpReLUTrainingSAEConfig
from sae_lens.saes.matryoshka_batchtopk_sae import (
    MatryoshkaBatchTopKTrainingSAE,
    MatryoshkaBatchTopKTrainingSAEConfig,
)
from sae_lens.saes.sae import TrainingSAE
from sae_lens.saes.standard_sae import StandardTrainingSAE, StandardTrainingSAEConfig
from sae_lens.saes.topk_sae import TopKTrainingSAE, TopKTrainingSAEConfig

from featurehub.errors import InvalidInput
from featurehub.settings import Frozen
from saes.architecture import Architecture

__all__ = ["Recipe", "make_sae"]


class Recipe(Frozen):
    """One SAE to train, whatever stream it is trained on.

    Attributes:
        architecture: How the SAE is kept sparse.
        d_sae: Number of latents.
        k: Mean number of active latents per token, for every architecture; below d_sae, and whole for topk.
        lr: Peak learning rate of Adam.
        dead_after: Batches without firing after which the trainer counts a latent as dead; an auxiliary loss,
            where the architecture has one, revives it.
        seed: Seed of the initial weights.
        parent: Id of the SAE whose weights training starts from; None for random weights.
    """

    architecture: Architecture = Architecture.BATCHTOPK
    d_sae: int = Field(default=768, ge=2)
    k: float = Field(default=12.0, gt=0)
    lr: float = Field(default=2e-3, gt=0)
    dead_after: int = Field(default=20, ge=1)
    seed: int = 0
    parent: str | None = None

    def weights(self, d_model: int) -> int:
        """Returns how many numbers are trained for a stream of this width, including a JumpReLU SAE's thresholds."""
        per_latent = 2 * d_model + (2 if self.architecture is Architecture.JUMPRELU else 1)
        return self.d_sae * per_latent + d_model

    def __str__(self) -> str:
        begun = f"-from-{self.parent[:8]}" if self.parent else ""
        return f"{self.architecture}-{self.d_sae}-k{self.k:g}-seed{self.seed}{begun}"


def make_sae(recipe: Recipe, d_model: int, steps: int) -> TrainingSAE[Any]:
    """Makes an untrained SAE with sae-lens.

    Args:
        recipe: The SAE to make.
        d_model: Width of the stream.
        steps: Length of the training, a tenth of which warms up the sparsity penalty.

    Raises:
        InvalidInput: If k is not below d_sae, or not whole for topk.
    """
    if recipe.k >= recipe.d_sae:
        raise InvalidInput(f"k = {recipe.k} must be below d_sae = {recipe.d_sae}", param="k")
    if recipe.architecture is Architecture.TOPK and recipe.k != int(recipe.k):
        raise InvalidInput(f"k = {recipe.k}: topk keeps a whole number of latents per token", param="k")
    torch.manual_seed(recipe.seed)
    # E‖x‖² = d_model while it trains; the scale is folded into the weights at the end.
    common: dict[str, Any] = {
        "d_in": d_model, "d_sae": recipe.d_sae, "normalize_activations": "expected_average_only_in",
    }  # fmt: skip
    k, warm_up = recipe.k, steps // 10
    # The size of one of k equal activations. A threshold moves by no more than lr per step: it must begin near its end,
    # and yet low enough for latents to live.
    size = (d_model / k) ** 0.5
    match recipe.architecture:
        case Architecture.STANDARD:
            return StandardTrainingSAE(StandardTrainingSAEConfig(**common, l1_warm_up_steps=warm_up))
        case Architecture.TOPK:
            return TopKTrainingSAE(TopKTrainingSAEConfig(**common, k=int(k)))
        case Architecture.BATCHTOPK:
            return BatchTopKTrainingSAE(BatchTopKTrainingSAEConfig(**common, k=k))
        case Architecture.JUMPRELU:
            return JumpReLUTrainingSAE(
                JumpReLUTrainingSAEConfig(
                    **common,
                    jumprelu_sparsity_loss_mode="quadratic",
                    target_l0=k,
                    l0_warm_up_steps=warm_up,
                    jumprelu_init_threshold=size / 16,
                    jumprelu_bandwidth=size / 8,
                )
            )
        case Architecture.MATRYOSHKA_BATCHTOPK:
            widths = [recipe.d_sae // 4, recipe.d_sae // 2, recipe.d_sae]
            return MatryoshkaBatchTopKTrainingSAE(
                MatryoshkaBatchTopKTrainingSAEConfig(**common, k=k, matryoshka_widths=widths)
            )
