"""Training SAEs with sae-lens' trainer, several in lockstep on one stream, each as if it were alone.

1. The stream's scale is measured on its first batches: with s · x, E‖x‖² = d_model. SAEs with a parent take up its
   weights.
2. Every batch makes a step of every SAE (``saes.trainee``).
3. Now and then the whole state is saved: weights, Adam's moments, schedules, the stream's buffer and place. A run that
   is started again goes on from there, and ends in the same SAEs as if it had never been stopped (``saes.run``).

sae-lens' own ``MultiSAETrainer`` makes the same steps with the same ``SAETrainer``, but its loop ends at a number of
tokens alone, and tells of itself by tqdm and wandb alone. Its checkpoints are pickles, one a trainer, without the
stream's buffer and place, so that a run that is resumed trains on other tokens; and its SAEs have no parents, nor an
L1 coefficient that follows the L0.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from featurehub.dictionary import Dictionary
from saes.recipes import Recipe
from saes.run import REPORT_EVERY, SCALE_BATCHES, TrainConfig, check_asked, resume_run
from saes.stream import Stream
from saes.trainee import Trainee, TrainingProgress

__all__ = ["TrainedSae", "train", "trial"]


class TrainedSae(NamedTuple):
    """What a recipe came to, and how."""

    recipe: Recipe
    config: TrainConfig
    dictionary: Dictionary
    history: list[TrainingProgress]


class SaeRun:
    """All trainees of a run, and their stream."""

    def __init__(
        self,
        stream: Stream,
        d_model: int,
        recipes: Sequence[Recipe],
        config: TrainConfig,
        parents: Mapping[str, Dictionary],
    ) -> None:
        self.stream = stream
        self.parents = parents
        self.config = config
        self.trainees = [Trainee(recipe, d_model, config) for recipe in recipes]
        self.done = 0
        self.history: list[TrainingProgress] = []

    def scale(self) -> None:
        """Step 1."""
        batches = [next(self.stream) for _ in range(min(SCALE_BATCHES, self.config.steps))]
        norm = float(torch.cat([batch.norm(dim=-1) for batch in batches]).mean())
        for trainee in self.trainees:
            parent = trainee.recipe.parent
            trainee.begin(batches[0].shape[1] ** 0.5 / norm, None if parent is None else self.parents[parent])

    def step(self) -> list[TrainingProgress]:
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
        return {"config": self.config.model_dump(exclude={"checkpoint_every"}), "recipes": recipes}

    def state(self) -> dict[str, Any]:
        return self.asked | {
            "trainees": [trainee.state() for trainee in self.trainees],
            "stream": self.stream.state(),
            "history": [each._asdict() for each in self.history],
            "done": self.done,
        }

    def load(self, state: Mapping[str, Any]) -> None:
        """Raises InvalidInput for the state of another run."""
        check_asked(self.asked, state)
        for trainee, each in zip(self.trainees, state["trainees"], strict=True):
            trainee.load(each)
        self.stream.load(state["stream"])
        self.history = [TrainingProgress(**each) for each in state["history"]]
        self.done = state["done"]


def train(
    stream: Stream,
    d_model: int,
    recipes: Sequence[Recipe],
    config: TrainConfig,
    checkpoint: Path | None = None,
    progress: Callable[[TrainingProgress], None] = lambda progress: None,
    until: float = math.inf,
    parents: Mapping[str, Dictionary] | None = None,
) -> list[TrainedSae]:
    """One SAE per recipe; ``checkpoint``, ``progress`` and ``until`` as in ``saes.run.resume_run``.

    parents: by id, those that recipes begin with
    Raises InvalidInput for a recipe that cannot be made and for the checkpoint of another run, CorruptArtifact, and
    BudgetExceeded where the time is over.
    """
    run = SaeRun(stream, d_model, recipes, config, parents or {})
    resume_run(run, checkpoint, progress, until)
    x = next(stream)
    return [
        TrainedSae(each.recipe, config, each.finish(x), [p for p in run.history if p.recipe == str(each.recipe)])
        for each in run.trainees
    ]


def trial(recipes: Sequence[Recipe], d_model: int, config: TrainConfig) -> Callable[[Tensor], None]:
    """Makes a step of throwaway SAEs of these recipes on a batch, for ``saes.cost``."""
    trainees = [Trainee(recipe, d_model, config) for recipe in recipes]
    for trainee in trainees:
        trainee.begin(scale=1.0, parent=None)

    def step(batch: Tensor) -> None:
        for trainee in trainees:
            trainee.step(batch, report=False)

    return step
