"""A transcoder's training: batches of pairs, Adam, a rate that warms up and decays, and a state to resume from."""

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from saes.run import REPORT_EVERY, SCALE_BATCHES, TrainConfig, check_asked, resume_run
from saes.stream import Stream
from saes.transcoders.pairs import Pairs, pairs
from saes.transcoders.trainable import Scale, Trainable, TrainStep, TranscoderRecipe, fold, least_kept
from saes.transcoders.transcoder import Transcoder

__all__ = ["TranscoderProgress", "train_transcoder", "trial"]

WARM_UP = 50


class TranscoderProgress(NamedTuple):
    """A report on a transcoder after some step, measured on that step's batch.

    Attributes:
        step: Number of steps made.
        loss: Loss of the batch.
        explained_variance: Of each layer, at most 1.
        l0: Mean number of active latents per token and layer.
        dead: Share of all latents that are dead, in [0, 1].
    """

    step: int
    loss: float
    explained_variance: tuple[float, ...]
    l0: float
    dead: float

    @property
    def words(self) -> str:
        """The report in one line, for people."""
        explained = " ".join(f"{each:.3f}" for each in self.explained_variance)
        return f"EV {explained}  L0 {self.l0:.1f}  dead {self.dead:.1%}"


class TranscoderTrainee:
    """One transcoder in training."""

    def __init__(self, layers: int, d_model: int, recipe: TranscoderRecipe, config: TrainConfig) -> None:
        self.recipe = recipe
        self.config = config
        self.trainable = Trainable(layers, d_model, recipe).to(config.device)
        self.optimizer = torch.optim.Adam(self.trainable.parameters(), lr=recipe.lr)
        self.since_fired = torch.zeros(layers, recipe.d_sae, dtype=torch.long, device=config.device)
        self.done = self.skipped = 0

    @property
    def place(self) -> int:
        """The place of the schedule at which the next step is made."""
        return self.done + self.skipped

    def step(self, batch: Pairs, report: bool) -> TranscoderProgress | None:
        """Makes a step on a scaled batch, and returns a report if one is asked for."""
        dead = self.since_fired >= self.recipe.dead_after
        with torch.autocast(batch.x.device.type, torch.bfloat16, enabled=self.config.autocast):
            made: TrainStep = self.trainable(batch, dead)
        self.optimizer.param_groups[0]["lr"] = self.recipe.lr * rate(self.place, self.config.steps)
        self.optimizer.zero_grad()
        made.loss.backward()
        self.optimizer.step()
        self.since_fired = (self.since_fired + 1).masked_fill((made.a > 0).any(dim=0), 0)
        self.done += 1
        return self.progress(batch, made, dead) if report else None

    def progress(self, batch: Pairs, made: TrainStep, dead: Tensor) -> TranscoderProgress:
        left = made.error.square().sum(dim=(0, 2)) / batch.y.var(dim=0, correction=0).sum(dim=-1) / len(batch.y)
        return TranscoderProgress(
            step=self.done,
            loss=made.loss.item(),
            explained_variance=tuple((1.0 - left).tolist()),
            l0=float((made.a > 0).sum(dim=-1).float().mean()),
            dead=float(dead.float().mean()),
        )

    def state(self) -> dict[str, Any]:
        return {
            "trainable": self.trainable.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "since_fired": self.since_fired,
            "done": self.done,
            "skipped": self.skipped,
        }

    def load(self, state: Mapping[str, Any]) -> None:
        moments = {int(index): each for index, each in state["optimizer"]["state"].items()}
        self.trainable.load_state_dict(state["trainable"])
        self.optimizer.load_state_dict({**state["optimizer"], "state": moments})
        self.since_fired = state["since_fired"].to(self.config.device)
        self.done, self.skipped = state["done"], state["skipped"]

    @torch.no_grad()
    def finish(self, batch: Pairs, x: Scale, y: Scale) -> Transcoder:
        """Returns the finished transcoder.

        Args:
            batch: Scaled pairs, on which the threshold is measured.
            x: Scale of the inputs.
            y: Scale of the outputs.
        """
        least = least_kept(self.trainable.writes(self.trainable.preactivations(batch.x)), self.recipe.k)
        return fold(self.trainable.cpu(), x.to("cpu"), y.to("cpu"), least.cpu())


class TranscoderRun:
    """A transcoder in training and its stream of harvested pairs; a ``saes.run.ResumableRun``."""

    def __init__(
        self, stream: Stream, layers: int, d_model: int, recipe: TranscoderRecipe, config: TrainConfig
    ) -> None:
        self.stream = stream
        self.layers = layers
        self.config = config
        self.trainee = TranscoderTrainee(layers, d_model, recipe, config)
        self.x = self.y = Scale(torch.empty(0), torch.empty(0))

    @property
    def done(self) -> int:
        return self.trainee.done

    @property
    def place(self) -> int:
        return self.trainee.place

    def skip(self, places: int) -> None:
        self.trainee.skipped += places

    def scale(self) -> None:
        batches = [self.pairs() for _ in range(min(SCALE_BATCHES, self.config.steps))]
        self.x, self.y = Scale.of([each.x for each in batches]), Scale.of([each.y for each in batches])

    def pairs(self) -> Pairs:
        return pairs(next(self.stream).to(self.config.device), self.layers)

    def batch(self) -> Pairs:
        x, y = self.pairs()
        return Pairs(self.x(x), self.y(y))

    def step(self) -> list[TranscoderProgress]:
        made = self.trainee.step(self.batch(), report=self.done % REPORT_EVERY == 0)
        return [] if made is None else [made]

    @property
    def asked(self) -> dict[str, Any]:
        """What only a state of the same run has."""
        config = self.config.model_dump(exclude={"checkpoint_every"})
        return {"config": config, "recipe": self.trainee.recipe.model_dump(), "layers": self.layers}

    def state(self) -> dict[str, Any]:
        scales = {"x": list(self.x), "y": list(self.y)}
        return self.asked | scales | {"trainee": self.trainee.state(), "stream": self.stream.state()}

    def load(self, state: Mapping[str, Any]) -> None:
        """Restores a saved state.

        Raises:
            InvalidInput: If the state is of another run.
        """
        check_asked(self.asked, state)
        self.trainee.load(state["trainee"])
        self.x, self.y = (Scale(*state[name]).to(self.config.device) for name in "xy")
        self.stream.load(state["stream"])

    def finish(self) -> Transcoder:
        return self.trainee.finish(self.batch(), self.x, self.y)


def train_transcoder(
    stream: Stream,
    layers: int,
    d_model: int,
    recipe: TranscoderRecipe,
    config: TrainConfig,
    checkpoint: Path | None = None,
    progress: Callable[[TranscoderProgress], None] = lambda progress: None,
    until: float = math.inf,
    planned: Callable[[int, int], None] = lambda done, steps: None,
) -> Transcoder:
    """Trains a transcoder.

    Args:
        stream: Batches of [tokens, layers · 2 · d_model], as harvested (``saes.transcoders.pairs``).
        layers: Number of layers that the transcoder covers.
        d_model: Width of the model's stream.
        recipe: The transcoder to train.
        config: Settings of the run.
        checkpoint: File that keeps the run's state; if it exists, the run resumes from it.
        progress: Called with every report.
        until: When training should be done, in seconds of ``time.monotonic``; a run that is too slow makes fewer steps.
        planned: Called with the steps made and the steps in all, at the start and whenever they become fewer.

    Raises:
        InvalidInput: If the recipe cannot be made, or the checkpoint is of another run.
        CorruptArtifact: If the checkpoint cannot be read.
    """
    run = TranscoderRun(stream, layers, d_model, recipe, config)
    resume_run(run, checkpoint, progress, until, planned)
    return run.finish()


def trial(layers: int, d_model: int, recipe: TranscoderRecipe, config: TrainConfig) -> Callable[[Tensor], object]:
    """Returns a function that trains a throwaway transcoder for one step on a batch, for ``saes.cost``.

    Args:
        layers: Number of layers that the transcoder covers.
        d_model: Width of the model's stream.
        recipe: The transcoder to try.
        config: Settings of the run.
    """
    trainee = TranscoderTrainee(layers, d_model, recipe, config)
    return lambda batch: trainee.step(pairs(batch.to(config.device), layers), report=False)


def rate(step: int, steps: int) -> float:
    """Returns the share of the full learning rate: a linear warm-up, then half a cosine down to a tenth."""
    warm_up = min(WARM_UP, max(1, steps // 10))
    decay = 0.55 + 0.45 * math.cos(math.pi * step / steps)
    return min(1.0, (step + 1) / warm_up) * decay
