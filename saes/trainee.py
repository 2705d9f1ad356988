"""One SAE in training by sae-lens' trainer: its steps, its state, and what becomes of it.

1. An SAE with a parent starts from the parent's weights, scaled as the stream is: an SAE of x is one of s · x with
   s · b_enc, s · b_dec and s · θ.
2. Nothing bounds the L0 of a standard SAE: its L1 coefficient follows the L0 that comes out, c ← c · (L0 / k)^η.
3. At the end the stream's scale is folded into the weights, decoder rows get length 1, and a TopK SAE gets its
   threshold (``saes.formats``). A BatchTopK SAE's threshold is a running mean of the least kept activation; after few
   steps much of its initial value is left, so it is measured too: short runs would otherwise end with several times k
   active latents. An SAE of spans gets thresholds for tokens, and steering vectors (``saes.steering_vectors``).
"""

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from sae_lens.config import LoggingConfig, SAETrainerConfig
from sae_lens.saes.batchtopk_sae import BatchTopKTrainingSAE
from sae_lens.saes.sae import TrainStepOutput
from sae_lens.training.sae_trainer import SAETrainer
from torch import Tensor

from featurehub.dictionary import Dictionary
from saes.architecture import Architecture
from saes.formats.saelens import read_saelens
from saes.recipes import Recipe, make_sae
from saes.run import TrainConfig
from saes.steering_vectors import steering_vectors, token_thresholds

__all__ = ["Trainee", "TrainingProgress"]

MOMENTUM = 0.02
"""η of step 2."""
SETTLED = 500
"""Steps after which less than 1 % of a running threshold's initial value is left; sae-lens moves it by 0.01 a step."""


class TrainingProgress(NamedTuple):
    """A report on one SAE after some step, measured on that step's batch.

    Attributes:
        step: Number of steps made.
        recipe: Name of the SAE, ``str(Recipe)``.
        loss: The trainer's loss.
        explained_variance: 1 − E‖x − x̂‖² / variance of x, at most 1.
        l0: Mean number of active latents per token.
        dead: Share of latents that the trainer counts as dead, in [0, 1].
    """

    step: int
    recipe: str
    loss: float
    explained_variance: float
    l0: float
    dead: float

    @property
    def words(self) -> str:
        """The report in one line, for people."""
        return f"EV {self.explained_variance:.3f}  L0 {self.l0:.1f}  dead {self.dead:.1%}"


class Trainee:
    """One SAE in training.

    Attributes:
        recipe: What is trained.
        sae: sae-lens' trainable SAE.
        trainer: sae-lens' trainer of it.
        l0: Running mean of the number of active latents per token, followed for a standard SAE only.
    """

    def __init__(self, recipe: Recipe, d_model: int, config: TrainConfig) -> None:
        self.recipe = recipe
        self.sae = make_sae(recipe, d_model, config.steps).to(config.device)
        self.trainer = SAETrainer(trainer_config(recipe, config), self.sae, iter(()))
        self.l0 = recipe.k

    @torch.no_grad()
    def begin(self, scale: float, parent: Dictionary | None, mean: Float[Tensor, " d_model"] | None = None) -> None:
        """Step 1: sets the scale, and the weights of the parent if there is one.

        Args:
            scale: s, by which the stream is multiplied.
            parent: The SAE to start from.
            mean: Where b_dec begins without a parent, [d_model]; None leaves it at 0.
        """
        self.trainer.activation_scaler.scaling_factor = scale
        if parent is None:
            if mean is not None:
                self.sae.b_dec.copy_(scale * mean)
            return
        theta = scale * parent.threshold
        tensors = {"W_enc": parent.W_enc.T, "W_dec": parent.W_dec}
        tensors |= {"b_enc": scale * parent.b_enc, "b_dec": scale * parent.b_dec}
        tensors |= {"threshold": theta, "topk_threshold": theta.double().mean()}
        known = self.sae.state_dict()
        self.sae.load_state_dict(known | {name: each for name, each in tensors.items() if name in known})

    def step(self, batch: Float[Tensor, "tokens d_model"], report: bool) -> TrainingProgress | None:
        """Makes a step on a batch of [tokens, d_model].

        Args:
            batch: Tokens of the stream, unscaled.
            report: Whether to return a report.

        Returns:
            The report, or None if none was asked for.
        """
        output = self.trainer.step(batch)
        self.trainer.n_training_steps += 1
        if self.recipe.architecture is Architecture.STANDARD:
            self.follow(mean_active(output.feature_acts))
        return self.progress(output) if report else None

    def skip(self, places: int) -> None:
        """Moves the schedules of the rate and of the coefficients on, as if so many steps had been made."""
        for _ in range(places):
            self.trainer.lr_scheduler.step()
            for each in self.trainer.coefficient_schedulers.values():
                each.step()

    @torch.no_grad()
    def progress(self, output: TrainStepOutput) -> TrainingProgress:
        """Returns a report on the step that the trainer just made."""
        error, variance = (output.sae_in - output.sae_out).square().sum(-1), output.sae_in.var(0, correction=0)
        return TrainingProgress(
            step=self.trainer.n_training_steps,
            recipe=str(self.recipe),
            loss=output.loss.item(),
            explained_variance=1.0 - float(error.mean() / variance.sum()),
            l0=mean_active(output.feature_acts),
            dead=float(self.trainer.dead_neurons.float().mean()),
        )

    def follow(self, l0: float) -> None:
        """Step 2: moves the L1 coefficient."""
        self.l0 += 0.1 * (l0 - self.l0)
        self.trainer.coefficient_schedulers["l1"].final_value *= max(self.l0 / self.recipe.k, 1e-3) ** MOMENTUM

    def state(self) -> dict[str, Any]:
        """Returns everything that the next steps depend on.

        sae-lens' own state of a trainer is a pickle, which we never read.
        """
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
        """Restores what ``state`` returned."""
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
        trainer.act_freq_scores = state["act_freq_scores"].to(self.sae.device)
        trainer.n_forward_passes_since_fired = state["since_fired"].to(self.sae.device)
        trainer.n_frac_active_samples, self.l0 = state["active_samples"], state["l0"]

    def finish(
        self, x: Float[Tensor, "vectors d_model"], tokens: Float[Tensor, "tokens d_model"] | None = None
    ) -> Dictionary:
        """Step 3: returns the SAE, ready to use. No step may follow.

        Args:
            x: Vectors as it was trained on, [vectors, d_model], on which the threshold of a TopK SAE is measured.
            tokens: Single tokens of the stream, [tokens, d_model]; None where it was trained on these.
        """
        scale = self.trainer.activation_scaler.scaling_factor
        assert scale is not None
        self.sae.to("cpu")
        if isinstance(self.sae, BatchTopKTrainingSAE) and self.trainer.n_training_steps < SETTLED:
            self.sae.topk_threshold.fill_(least_kept(self.sae, scale * x))
        self.sae.fold_activation_norm_scaling_factor(scale)
        if self.recipe.architecture in (Architecture.STANDARD, Architecture.JUMPRELU):
            self.sae.fold_W_dec_norm()
        with tempfile.TemporaryDirectory() as folder:
            self.sae.save_inference_model(folder)
            made = read_saelens(Path(folder), x)
        if tokens is None:
            return made
        W_steer, threshold = steering_vectors(made, x), token_thresholds(made, x, tokens)
        return made._replace(W_steer=W_steer, threshold=threshold, span_threshold=made.threshold)


@torch.no_grad()
def least_kept(sae: BatchTopKTrainingSAE, x: Float[Tensor, "tokens d_model"]) -> float:
    """Returns the pre-activation above which k latents per token lie, on scaled tokens ``x``."""
    _, hidden_pre = sae.encode_with_hidden_pre(x)
    return float(hidden_pre.flatten().topk(int(sae.cfg.k * len(x)) + 1).values[-1].clamp(min=0.0))


def mean_active(feature_acts: Float[Tensor, "tokens d_sae"]) -> float:
    return float((feature_acts.detach() > 0).sum(-1).float().mean())


def trainer_config(recipe: Recipe, config: TrainConfig) -> SAETrainerConfig:
    return SAETrainerConfig(
        total_training_samples=config.steps * config.batch_tokens,
        train_batch_size_samples=config.batch_tokens,
        lr=recipe.lr,
        lr_end=recipe.lr / 10,
        lr_scheduler_name="cosineannealing",
        lr_warm_up_steps=min(50, config.steps // 10),
        dead_feature_window=recipe.dead_after,
        device=config.device,
        autocast=config.autocast,
        logger=LoggingConfig(log_to_wandb=False),
    )
