"""Training SAEs with sae-lens' trainer, several in lockstep on one stream, each as if it were alone.

1. The stream's scale is measured on its first batches: with s · x, E‖x‖² = d_model.
2. Every batch makes a step of every SAE. For a standard SAE, whose L0 nothing else bounds, the L1 coefficient then
   follows the L0 that came out: c ← c · (L0 / k)^η.
3. Now and then the whole state is saved: weights, Adam's moments, schedules, the stream's buffer and place. A run that
   is started again goes on from there, and ends in the same SAEs as if it had never been stopped.
4. At the end s is folded into the weights, decoder rows get length 1, and a TopK SAE its threshold (``saes.saelens``).
"""

import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from pydantic import Field
from sae_lens.config import LoggingConfig, SAETrainerConfig
from sae_lens.saes.sae import TrainStepOutput
from sae_lens.training.sae_trainer import SAETrainer
from torch import Tensor

from featurehub.dictionary import Dictionary
from featurehub.errors import InvalidInput
from featurehub.settings import Frozen
from saes.architecture import Architecture
from saes.checkpoint import load_state, save_state
from saes.recipes import Recipe, make_sae
from saes.saelens import read_saelens
from saes.stream import Stream

__all__ = ["SCALE_BATCHES", "Progress", "TrainConfig", "train"]

MOMENTUM = 0.02
SCALE_BATCHES = 20
REPORT_EVERY = 50


class TrainConfig(Frozen):
    """What a training run depends on but its stream and its recipes.

    tokens:           how many to train on, repeats counted
    checkpoint_every: seconds between two saved states
    """

    tokens: int = Field(default=1_600_000, ge=1)
    batch_tokens: int = Field(default=2048, ge=1)
    checkpoint_every: float = Field(default=60.0, ge=0)

    @property
    def steps(self) -> int:
        return max(1, self.tokens // self.batch_tokens)


class Progress(NamedTuple):
    """One SAE after some step, on that step's batch. dead: share of the latents"""

    step: int
    recipe: str
    loss: float
    explained_variance: float
    l0: float
    dead: float


class Trainee:
    """One SAE in training."""

    def __init__(self, recipe: Recipe, d_model: int, config: TrainConfig) -> None:
        self.recipe = recipe
        self.sae = make_sae(recipe, d_model, config.steps)
        self.trainer = SAETrainer(trainer_config(recipe, config), self.sae, iter(()))
        self.l0 = recipe.k

    def step(self, batch: Tensor, report: bool) -> Progress | None:
        output = self.trainer.step(batch)
        self.trainer.n_training_steps += 1
        if self.recipe.architecture is Architecture.STANDARD:
            self.follow(mean_active(output.feature_acts))
        return self.progress(output) if report else None

    @torch.no_grad()
    def progress(self, output: TrainStepOutput) -> Progress:
        error, variance = (output.sae_in - output.sae_out).square().sum(-1), output.sae_in.var(0, correction=0)
        return Progress(
            step=self.trainer.n_training_steps,
            recipe=str(self.recipe),
            loss=output.loss.item(),
            explained_variance=1.0 - float(error.mean() / variance.sum()),
            l0=mean_active(output.feature_acts),
            dead=float(self.trainer.dead_neurons.float().mean()),
        )

    def follow(self, l0: float) -> None:
        """Step 2 for a standard SAE."""
        self.l0 += 0.1 * (l0 - self.l0)
        self.trainer.coefficient_schedulers["l1"].final_value *= max(self.l0 / self.recipe.k, 1e-3) ** MOMENTUM

    def state(self) -> dict[str, Any]:
        """sae-lens' own state of a trainer is a pickle, which we never read."""
        trainer = self.trainer
        return {
            "sae": self.sae.state_dict(),
            "optimizer": trainer.optimizer.state_dict(),
            "lr_scheduler": trainer.lr_scheduler.state_dict(),
            "coefficients": {name: vars(each) for name, each in trainer.coefficient_schedulers.items()},
            "scale": trainer.activation_scaler.scaling_factor,
            "steps": trainer.n_training_steps,
            "samples": trainer.n_training_samples,
            "act_freq_scores": trainer.act_freq_scores,
            "since_fired": trainer.n_forward_passes_since_fired,
            "active_samples": trainer.n_frac_active_samples,
            "l0": self.l0,
        }

    def load(self, state: Mapping[str, Any]) -> None:
        trainer, moments = self.trainer, state["optimizer"]["state"]
        self.sae.load_state_dict(state["sae"])
        trainer.optimizer.load_state_dict(
            {**state["optimizer"], "state": {int(index): each for index, each in moments.items()}}
        )
        trainer.lr_scheduler.load_state_dict(state["lr_scheduler"])
        for name, each in state["coefficients"].items():
            vars(trainer.coefficient_schedulers[name]).update(each)
        trainer.activation_scaler.scaling_factor = state["scale"]
        trainer.n_training_steps, trainer.n_training_samples = state["steps"], state["samples"]
        trainer.act_freq_scores, trainer.n_forward_passes_since_fired = state["act_freq_scores"], state["since_fired"]
        trainer.n_frac_active_samples, self.l0 = state["active_samples"], state["l0"]

    def finish(self, x: Tensor) -> Dictionary:
        """Step 4. x: [tokens, d_model], from which the threshold of a TopK SAE is measured"""
        scale = self.trainer.activation_scaler.scaling_factor
        assert scale is not None
        self.sae.fold_activation_norm_scaling_factor(scale)
        if self.recipe.architecture in (Architecture.STANDARD, Architecture.JUMPRELU):
            self.sae.fold_W_dec_norm()
        with tempfile.TemporaryDirectory() as folder:
            self.sae.save_inference_model(folder)
            return read_saelens(Path(folder), x)


def mean_active(feature_acts: Tensor) -> float:
    return float((feature_acts.detach() > 0).sum(-1).float().mean())


class Run:
    """All trainees of a run, and their stream."""

    def __init__(self, stream: Stream, d_model: int, recipes: Sequence[Recipe], config: TrainConfig) -> None:
        self.stream = stream
        self.config = config
        self.trainees = [Trainee(recipe, d_model, config) for recipe in recipes]
        self.done = 0
        self.history: list[Progress] = []

    def scale(self) -> None:
        """Step 1."""
        batches = [next(self.stream) for _ in range(min(SCALE_BATCHES, self.config.steps))]
        norm = float(torch.cat([batch.norm(dim=-1) for batch in batches]).mean())
        for trainee in self.trainees:
            trainee.trainer.activation_scaler.scaling_factor = batches[0].shape[1] ** 0.5 / norm

    def step(self) -> list[Progress]:
        batch, report = next(self.stream), self.done % REPORT_EVERY == 0
        made = [trainee.step(batch, report) for trainee in self.trainees]
        reported = [each for each in made if each is not None]
        self.done += 1
        self.history += reported
        return reported

    @property
    def asked(self) -> dict[str, Any]:
        """What only the state of the same run has."""
        recipes = [trainee.recipe.model_dump() for trainee in self.trainees]
        return {"config": self.config.model_dump(), "recipes": recipes}

    def state(self) -> dict[str, Any]:
        return self.asked | {
            "trainees": [trainee.state() for trainee in self.trainees],
            "stream": self.stream.state(),
            "history": [each._asdict() for each in self.history],
            "done": self.done,
        }

    def load(self, state: Mapping[str, Any]) -> None:
        """Raises InvalidInput for the state of another run."""
        for part, own in self.asked.items():
            if state[part] != own:
                raise InvalidInput(
                    f"the checkpoint is of a run with another {part}: {state[part]}; give another folder, or remove it",
                    param="out",
                )
        for trainee, each in zip(self.trainees, state["trainees"], strict=True):
            trainee.load(each)
        self.stream.load(state["stream"])
        self.history = [Progress(**each) for each in state["history"]]
        self.done = state["done"]


def train(
    stream: Stream,
    d_model: int,
    recipes: Sequence[Recipe],
    config: TrainConfig,
    checkpoint: Path | None = None,
    progress: Callable[[Progress], None] = lambda progress: None,
) -> list[Dictionary]:
    """One SAE per recipe. ``checkpoint``: the file that keeps the state, and from which the run goes on if it is there.

    Raises InvalidInput for a recipe that cannot be made and for the checkpoint of another run, CorruptArtifact.
    """
    run = Run(stream, d_model, recipes, config)
    if checkpoint is not None and checkpoint.is_file():
        run.load(load_state(checkpoint))
    else:
        run.scale()
    # The moments of latents that no longer fire decay into denormal numbers, which a CPU handles many times slower.
    torch.set_flush_denormal(True)
    try:
        go_on(run, checkpoint, progress)
    finally:
        torch.set_flush_denormal(False)
    x = next(stream)
    return [trainee.finish(x) for trainee in run.trainees]


def go_on(run: Run, checkpoint: Path | None, progress: Callable[[Progress], None]) -> None:
    saved = time.monotonic()
    while run.done < run.config.steps:
        for each in run.step():
            progress(each)
        if checkpoint is not None and time.monotonic() - saved >= run.config.checkpoint_every:
            save_state(checkpoint, run.state())
            saved = time.monotonic()
    if checkpoint is not None:
        save_state(checkpoint, run.state())


def trainer_config(recipe: Recipe, config: TrainConfig) -> SAETrainerConfig:
    return SAETrainerConfig(
        total_training_samples=config.steps * config.batch_tokens,
        train_batch_size_samples=config.batch_tokens,
        lr=recipe.lr,
        lr_end=recipe.lr / 10,
        lr_scheduler_name="cosineannealing",
        lr_warm_up_steps=min(50, config.steps // 10),
        dead_feature_window=recipe.dead_after,
        logger=LoggingConfig(log_to_wandb=False),
    )
