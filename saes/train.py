"""Training a BatchTopK SAE (Bussmann et al., arXiv 2412.06410) with sae-lens' trainer on any stream of activations.

1. sae-lens scales the activations so that E‖x‖² = d_model, and folds the scale into the weights at the end.
2. Per batch of n tokens, the n · k largest pre-activations stay; the running minimum of what stayed becomes the
   threshold θ, with which a token can later be encoded alone.
3. sae-lens writes it as a JumpReLU SAE with unit decoder rows; ``saes.saelens`` turns that into ours.
"""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import torch
from pydantic import Field
from sae_lens.config import LoggingConfig, SAETrainerConfig
from sae_lens.saes.batchtopk_sae import BatchTopKTrainingSAE, BatchTopKTrainingSAEConfig
from sae_lens.training.sae_trainer import SAETrainer
from torch import Tensor

from featurehub.dictionary import Dictionary
from featurehub.errors import InvalidInput
from featurehub.settings import Frozen
from saes.saelens import read_saelens

__all__ = ["TrainConfig", "train"]


class TrainConfig(Frozen):
    """What a training run depends on but its stream.

    d_sae:      latents
    k:          mean number of active latents per token
    tokens:     how many to train on, repeats counted
    dead_after: batches without firing after which a latent is dead for the trainer, whose auxiliary loss revives it
    """

    d_sae: int = Field(default=768, ge=2)
    k: float = Field(default=12.0, gt=0)
    tokens: int = Field(default=1_600_000, ge=1)
    batch_tokens: int = Field(default=2048, ge=1)
    lr: float = Field(default=2e-3, gt=0)
    dead_after: int = Field(default=20, ge=1)
    seed: int = 0


def train(batches: Iterator[Tensor], d_model: int, config: TrainConfig) -> Dictionary:
    """Trains on ``batches`` ([batch_tokens, d_model] float32 each). Raises InvalidInput where k is not below d_sae."""
    if config.k >= config.d_sae:
        raise InvalidInput(f"k = {config.k} must be below d_sae = {config.d_sae}", param="k")
    torch.manual_seed(config.seed)
    sae = BatchTopKTrainingSAE(
        BatchTopKTrainingSAEConfig(
            d_in=d_model, d_sae=config.d_sae, k=config.k, normalize_activations="expected_average_only_in"
        )
    )
    trainer = SAETrainer(trainer_config(config), sae, batches)
    # The moments of latents that no longer fire decay into denormal numbers, which a CPU handles many times slower.
    torch.set_flush_denormal(True)
    try:
        trainer.fit()
    finally:
        torch.set_flush_denormal(False)
    with tempfile.TemporaryDirectory() as folder:
        sae.save_inference_model(folder)
        return read_saelens(Path(folder))


def trainer_config(config: TrainConfig) -> SAETrainerConfig:
    steps = max(1, config.tokens // config.batch_tokens)
    return SAETrainerConfig(
        total_training_samples=steps * config.batch_tokens,
        train_batch_size_samples=config.batch_tokens,
        lr=config.lr,
        lr_end=config.lr / 10,
        lr_scheduler_name="cosineannealing",
        lr_warm_up_steps=min(50, steps // 10),
        dead_feature_window=config.dead_after,
        n_batches_for_norm_estimate=min(20, steps),
        logger=LoggingConfig(log_to_wandb=False),
    )
