"""A transcoder's training: batches of pairs, Adam, a rate that warms up and decays, and a state to go on from."""

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from saes.run import REPORT_EVERY, SCALE_BATCHES, TrainConfig, check_asked, go_on
from saes.stream import Stream
from saes.transcoders.pairs import Pairs, pairs
from saes.transcoders.trainable import Scale, Step, Trainable, TranscoderRecipe, fold, least_kept
from saes.transcoders.transcoder import Transcoder

__all__ = ["TranscoderProgress", "train_transcoder"]

WARM_UP = 50


class TranscoderProgress(NamedTuple):
    """After some step, on that step's batch.

    explained_variance: of each layer;  l0: mean per token and layer;  dead: share of all latents
    """

    step: int
    loss: float
    explained_variance: tuple[float, ...]
    l0: float
    dead: float


class TranscoderRun:
    """One transcoder in training on a stream of harvested pairs; a ``saes.run.Run``."""

    def __init__(
        self, stream: Stream, layers: int, d_model: int, recipe: TranscoderRecipe, config: TrainConfig
    ) -> None:
        self.stream = stream
        self.layers = layers
        self.recipe = recipe
        self.config = config
        self.trainable = Trainable(layers, d_model, recipe)
        self.optimizer = torch.optim.Adam(self.trainable.parameters(), lr=recipe.lr)
        self.since_fired = torch.zeros(layers, recipe.d_sae, dtype=torch.long)
        self.x = self.y = Scale(torch.empty(0), torch.empty(0))
        self.done = 0

    def scale(self) -> None:
        batches = [pairs(next(self.stream), self.layers) for _ in range(min(SCALE_BATCHES, self.config.steps))]
        self.x, self.y = Scale.of([each.x for each in batches]), Scale.of([each.y for each in batches])

    def batch(self) -> Pairs:
        x, y = pairs(next(self.stream), self.layers)
        return Pairs(self.x(x), self.y(y))

    def step(self) -> list[TranscoderProgress]:
        batch, dead = self.batch(), self.since_fired >= self.recipe.dead_after
        made: Step = self.trainable(batch, dead)
        self.optimizer.param_groups[0]["lr"] = self.recipe.lr * rate(self.done, self.config.steps)
        self.optimizer.zero_grad()
        made.loss.backward()
        self.optimizer.step()
        self.since_fired = (self.since_fired + 1).masked_fill((made.a > 0).any(dim=0), 0)
        self.done += 1
        return [self.progress(batch, made, dead)] if (self.done - 1) % REPORT_EVERY == 0 else []

    def progress(self, batch: Pairs, made: Step, dead: Tensor) -> TranscoderProgress:
        left = made.error.square().sum(dim=(0, 2)) / batch.y.var(dim=0, correction=0).sum(dim=-1) / len(batch.y)
        return TranscoderProgress(
            step=self.done,
            loss=made.loss.item(),
            explained_variance=tuple((1.0 - left).tolist()),
            l0=float((made.a > 0).sum(dim=-1).float().mean()),
            dead=float(dead.float().mean()),
        )

    @property
    def asked(self) -> dict[str, Any]:
        """What only the state of the same run has."""
        config = self.config.model_dump(exclude={"checkpoint_every"})
        return {"config": config, "recipe": self.recipe.model_dump(), "layers": self.layers}

    def state(self) -> dict[str, Any]:
        return self.asked | {
            "trainable": self.trainable.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "since_fired": self.since_fired,
            "x": list(self.x),
            "y": list(self.y),
            "stream": self.stream.state(),
            "done": self.done,
        }

    def load(self, state: Mapping[str, Any]) -> None:
        """Raises InvalidInput for the state of another run."""
        check_asked(self.asked, state)
        moments = {int(index): each for index, each in state["optimizer"]["state"].items()}
        self.trainable.load_state_dict(state["trainable"])
        self.optimizer.load_state_dict({**state["optimizer"], "state": moments})
        self.since_fired, self.done = state["since_fired"], state["done"]
        self.x, self.y = Scale(*state["x"]), Scale(*state["y"])
        self.stream.load(state["stream"])

    @torch.no_grad()
    def finish(self) -> Transcoder:
        """The threshold is measured on a further batch."""
        writes = self.trainable.writes(self.trainable.preactivations(self.batch().x))
        return fold(self.trainable, self.x, self.y, least_kept(writes, self.recipe.k))


def train_transcoder(
    stream: Stream,
    layers: int,
    d_model: int,
    recipe: TranscoderRecipe,
    config: TrainConfig,
    checkpoint: Path | None = None,
    progress: Callable[[TranscoderProgress], None] = lambda progress: None,
) -> Transcoder:
    """stream: of [tokens, layers · 2 · d_model], as harvested (``saes.transcoders.pairs``)

    Raises InvalidInput for a recipe that cannot be made and for the checkpoint of another run, CorruptArtifact.
    """
    run = TranscoderRun(stream, layers, d_model, recipe, config)
    go_on(run, checkpoint, progress)
    return run.finish()


def rate(step: int, steps: int) -> float:
    """Share of the full learning rate: a linear warm-up, then half a cosine down to a tenth."""
    warm_up = min(WARM_UP, max(1, steps // 10))
    decay = 0.55 + 0.45 * math.cos(math.pi * step / steps)
    return min(1.0, (step + 1) / warm_up) * decay
