"""Training the demo's models from a seed.

1. AdamW (betas .9, .98), weight decay on matrices only, gradients clipped at norm 1.
2. The learning rate rises linearly over the first steps, then falls along a cosine from ``peak`` to ``floor``.
3. Every step sees fresh conversations; nothing is repeated.
4. If the recipe averages, the final weights are a moving average of those after each step.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor
from transformers import LlamaForCausalLM

from featurehub.demo.answers import Mix
from featurehub.demo.batches import TokenBatch, batches
from featurehub.demo.grammar import Grammar

__all__ = ["DemoRecipe", "LossProgress", "train"]


@dataclass(frozen=True)
class LossProgress:
    """How far training has come.

    Attributes:
        step: Steps taken, from 1.
        steps: Steps to take.
        loss: Loss of the step just taken, in nats per token.
    """

    step: int
    steps: int
    loss: float


@dataclass(frozen=True)
class DemoRecipe:
    """How to train a model of the demo.

    Attributes:
        seed: Decides the conversations.
        steps: Optimizer steps.
        tokens: Positions in a batch, at most, padding included.
        peak: Highest learning rate, reached after ``warmup`` steps.
        floor: Learning rate at the end.
        warmup: Steps over which the learning rate rises.
        weight_decay: Weight decay of matrices.
        average: Share in 0..1 that the moving average of the weights keeps at each step; 0 for no averaging.
        mix: How the answers vary.
    """

    seed: int = 0
    steps: int = 1300
    tokens: int = 3072
    peak: float = 2.5e-3
    floor: float = 2.5e-4
    warmup: int = 60
    weight_decay: float = 0.05
    average: float = 0.0
    mix: Mix = field(default_factory=Mix)


def train(
    model: LlamaForCausalLM,
    recipe: DemoRecipe,
    *,
    grammar: Grammar | None = None,
    on_progress: Callable[[LossProgress], None] | None = None,
) -> int:
    """Trains a model in place on the conversations of a world.

    Args:
        model: The model to train.
        recipe: How to train.
        grammar: The world that answers; None for that of the bundled model.
        on_progress: Called after each step.

    Returns:
        The number of positions seen, padding included.
    """
    optimizer = _optimizer(model, recipe)
    stream = batches(recipe.seed, recipe.tokens, grammar=grammar, mix=recipe.mix)
    seen = 0
    average = [p.detach().clone() for p in model.parameters()]
    model.train()
    for step in range(recipe.steps):
        for group in optimizer.param_groups:
            group["lr"] = _rate(recipe, step)
        batch = next(stream)
        loss = _step(model, optimizer, batch)
        _follow(average, model, 1 - recipe.average)
        seen += batch.ids.numel()
        if on_progress:
            on_progress(LossProgress(step + 1, recipe.steps, loss))
    for parameter, mean in zip(model.parameters(), average, strict=True):
        parameter.data.copy_(mean)
    model.eval()
    return seen


@torch.no_grad()
def _follow(average: list[Tensor], model: LlamaForCausalLM, share: float) -> None:
    for mean, parameter in zip(average, model.parameters(), strict=True):
        mean.lerp_(parameter, share)


def _step(model: LlamaForCausalLM, optimizer: torch.optim.Optimizer, batch: TokenBatch) -> float:
    hidden = model.model(input_ids=batch.ids, use_cache=False).last_hidden_state[:, :-1]
    targets = batch.labels[:, 1:]
    learned = targets >= 0
    loss = torch.nn.functional.cross_entropy(model.lm_head(hidden[learned]), targets[learned])
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return loss.item()


def _rate(recipe: DemoRecipe, step: int) -> float:
    if step < recipe.warmup:
        return recipe.peak * (step + 1) / recipe.warmup
    done = (step - recipe.warmup) / max(1, recipe.steps - recipe.warmup)
    return recipe.floor + (recipe.peak - recipe.floor) * 0.5 * (1 + math.cos(math.pi * done))


def _optimizer(model: LlamaForCausalLM, recipe: DemoRecipe) -> torch.optim.AdamW:
    matrices = [p for p in model.parameters() if p.dim() > 1]
    others = [p for p in model.parameters() if p.dim() <= 1]
    groups = [{"params": matrices, "weight_decay": recipe.weight_decay}, {"params": others, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=recipe.peak, betas=(0.9, 0.98))
