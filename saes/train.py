"""Training SAEs with sae-lens' trainer, several in lockstep on one stream, each as if it were alone.

1. The stream's scale is measured on its first batches: with s · x, E‖x‖² = d_model. SAEs with a parent start from its
   weights.
2. Every SAE makes a step on every batch (``saes.trainee``).
3. Now and then the whole state is saved: weights, Adam's moments, schedules, the stream's buffer and place. A run that
   is started again continues from there, and ends in the same SAEs as if it had never been stopped. Where the time is
   short, every schedule comes forward (``saes.run``).
4. Each SAE is finished for the stream as it is.

sae-lens' own ``MultiSAETrainer`` makes the same steps with the same ``SAETrainer``, but its loop can end only
at a number of tokens, and reports only through tqdm and wandb. Its checkpoints are pickles, one per trainer, without
the stream's buffer and place, so that a resumed run trains on other tokens; and its SAEs have neither parents nor an L1
coefficient that follows the L0.
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
from saes.spans import SpanChunks
from saes.stream import Stream
from saes.trainee import Trainee, TrainingProgress

__all__ = ["TrainedSae", "train", "trial"]

SPAN_BATCHES = 48
"""Batches of spans on which steering vectors are measured."""
TOKENS_MEASURED = 32_768
"""Most tokens on which thresholds for tokens are measured."""


class TrainedSae(NamedTuple):
    """A trained SAE with the recipe and the reports of its training.

    Attributes:
        recipe: What was asked for.
        config: The settings that all SAEs of the run share, with the tokens that they were trained on.
        dictionary: The SAE, for the stream as it is: the training scale is folded into its weights.
        history: This SAE's progress reports, one every ``REPORT_EVERY`` steps.
    """

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
        self.done = self.skipped = 0
        self.history: list[TrainingProgress] = []

    @property
    def place(self) -> int:
        """The place of the schedule at which the next step is made."""
        return self.done + self.skipped

    def skip(self, places: int) -> None:
        """Moves every schedule on, as if so many steps had been made."""
        self.skipped += places
        for trainee in self.trainees:
            trainee.skip(places)

    def scale(self) -> None:
        """Step 1: measures the stream's scale and sets it in every trainee."""
        batches = [next(self.stream) for _ in range(min(SCALE_BATCHES, self.config.steps))]
        d_model = batches[0].shape[1]
        mean = (
            torch.stack([x.mean(dim=0) for x in batches]).mean(dim=0) if self.config.span > 1 else torch.zeros(d_model)
        )
        scale = d_model**0.5 / float(torch.cat([(x - mean).norm(dim=-1) for x in batches]).mean())
        for trainee in self.trainees:
            parent = trainee.recipe.parent
            trainee.begin(scale, None if parent is None else self.parents[parent], mean)

    def step(self) -> list[TrainingProgress]:
        """Trains every SAE on the next batch and returns their reports, if this step is one to report."""
        batch, report = next(self.stream), self.done % REPORT_EVERY == 0
        made = [trainee.step(batch, report) for trainee in self.trainees]
        reported = [each for each in made if each is not None]
        self.done += 1
        self.history += reported
        return reported

    @property
    def asked(self) -> dict[str, Any]:
        """What only a state of the same run has."""
        recipes = [trainee.recipe.model_dump() for trainee in self.trainees]
        return {"config": self.config.model_dump(exclude={"checkpoint_every"}), "recipes": recipes}

    def state(self) -> dict[str, Any]:
        """Returns everything that the next steps depend on."""
        return self.asked | {
            "trainees": [trainee.state() for trainee in self.trainees],
            "stream": self.stream.state(),
            "history": [each._asdict() for each in self.history],
            "done": self.done,
            "skipped": self.skipped,
        }

    def load(self, state: Mapping[str, Any]) -> None:
        """Restores a saved state.

        Raises:
            InvalidInput: If the state is of another run.
        """
        check_asked(self.asked, state)
        for trainee, each in zip(self.trainees, state["trainees"], strict=True):
            trainee.load(each)
        self.stream.load(state["stream"])
        self.history = [TrainingProgress(**each) for each in state["history"]]
        self.done, self.skipped = state["done"], state["skipped"]

    def finish(self) -> list[TrainedSae]:
        """Step 4: returns the SAEs. No step may follow."""
        (x, tokens), config = self.measured(), self.config
        if self.done < config.steps:
            config = config.model_copy(update={"tokens": self.done * config.batch_tokens})
        return [
            TrainedSae(
                each.recipe, config, each.finish(x, tokens), [p for p in self.history if p.recipe == str(each.recipe)]
            )
            for each in self.trainees
        ]

    def measured(self) -> tuple[Tensor, Tensor | None]:
        """What is read to finish the SAEs: vectors as they were trained on and, if these are spans, single tokens."""
        chunks = self.stream.chunks
        if not isinstance(chunks, SpanChunks):
            return self.stream.last(self.config.batch_tokens), None
        x = self.stream.last(min(SPAN_BATCHES, self.config.steps) * self.config.batch_tokens)
        return x, torch.cat(chunks.tokens.streams(self.stream.next_chunk()))[:TOKENS_MEASURED]


def train(
    stream: Stream,
    d_model: int,
    recipes: Sequence[Recipe],
    config: TrainConfig,
    checkpoint: Path | None = None,
    progress: Callable[[TrainingProgress], None] = lambda progress: None,
    until: float = math.inf,
    parents: Mapping[str, Dictionary] | None = None,
    planned: Callable[[int, int], None] = lambda done, steps: None,
) -> list[TrainedSae]:
    """Trains one SAE per recipe, all on the same batches, and returns them in the order of the recipes.

    Args:
        stream: Batches of [tokens, d_model].
        d_model: Width of the stream.
        recipes: The SAEs to train.
        config: Settings that all SAEs share.
        checkpoint: File that keeps the run's state; if it exists, the run resumes from it.
        progress: Called with every report.
        until: When training should be done, in seconds of ``time.monotonic``; a run that is too slow makes fewer steps.
        parents: By id, the SAEs whose weights recipes start from (``Recipe.parent``).
        planned: Called with the steps made and the steps in all, at the start and whenever they become fewer.

    Raises:
        InvalidInput: If a recipe cannot be made, or the checkpoint is of another run.
        CorruptArtifact: If the checkpoint cannot be read.
    """
    run = SaeRun(stream, d_model, recipes, config, parents or {})
    resume_run(run, checkpoint, progress, until, planned)
    return run.finish()


def trial(recipes: Sequence[Recipe], d_model: int, config: TrainConfig) -> Callable[[Tensor], None]:
    """Returns a function that trains throwaway SAEs of these recipes for one step on a batch, for ``saes.cost``.

    Args:
        recipes: The SAEs to try.
        d_model: Width of the stream.
        config: Settings that all SAEs share.
    """
    trainees = [Trainee(recipe, d_model, config) for recipe in recipes]
    for trainee in trainees:
        trainee.begin(scale=1.0, parent=None)

    def step(batch: Tensor) -> None:
        for trainee in trainees:
            trainee.step(batch, report=False)

    return step
