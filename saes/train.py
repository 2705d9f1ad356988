"""Training SAEs with sae-lens' trainer, several in lockstep on one stream, each as if it were alone.

1. The stream's scale is measured on its first batches: with s · x, E‖x‖² = d_model.
2. Every batch makes a step of every SAE (``saes.trainee``).
3. Now and then the whole state is saved: weights, Adam's moments, schedules, the stream's buffer and place. A run that
   is started again goes on from there, and ends in the same SAEs as if it had never been stopped.
4. A run that is out of time saves its state and says so.
"""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch

from featurehub.dictionary import Dictionary
from featurehub.errors import BudgetExceeded, InvalidInput
from saes.checkpoint import load_state, save_state
from saes.recipes import Recipe
from saes.stream import Stream
from saes.trainee import Progress, TrainConfig, Trainee

__all__ = ["SCALE_BATCHES", "TrainedSae", "train"]

SCALE_BATCHES = 20
REPORT_EVERY = 50


class TrainedSae(NamedTuple):
    """What a recipe came to, and how."""

    recipe: Recipe
    config: TrainConfig
    dictionary: Dictionary
    history: list[Progress]


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
    until: float = math.inf,
) -> list[TrainedSae]:
    """One SAE per recipe. ``checkpoint``: the file that keeps the state, and from which the run goes on if it is there.

    until: when it must be done, in seconds of ``time.monotonic``
    Raises InvalidInput for a recipe that cannot be made and for the checkpoint of another run, CorruptArtifact, and
    BudgetExceeded where the time is over.
    """
    run = Run(stream, d_model, recipes, config)
    if checkpoint is not None and checkpoint.is_file():
        run.load(load_state(checkpoint))
    else:
        run.scale()
    # The moments of latents that no longer fire decay into denormal numbers, which a CPU handles many times slower.
    torch.set_flush_denormal(True)
    try:
        go_on(run, checkpoint, progress, until)
    finally:
        torch.set_flush_denormal(False)
    x = next(stream)
    return [
        TrainedSae(each.recipe, config, each.finish(x), [p for p in run.history if p.recipe == str(each.recipe)])
        for each in run.trainees
    ]


def go_on(run: Run, checkpoint: Path | None, progress: Callable[[Progress], None], until: float) -> None:
    saved = time.monotonic()
    while run.done < run.config.steps:
        for each in run.step():
            progress(each)
        if time.monotonic() > until:
            stop(run, checkpoint)
        if checkpoint is not None and time.monotonic() - saved >= run.config.checkpoint_every:
            save_state(checkpoint, run.state())
            saved = time.monotonic()
    if checkpoint is not None:
        save_state(checkpoint, run.state())


def stop(run: Run, checkpoint: Path | None) -> None:
    """Step 4. Raises BudgetExceeded."""
    kept = "nothing is kept"
    if checkpoint is not None:
        save_state(checkpoint, run.state())
        kept = "they are kept: start it again with more time, and it goes on from there"
    done = run.done * run.config.batch_tokens
    raise BudgetExceeded(
        f"the time is over after {done:,} of {run.config.tokens:,} training tokens; {kept}", param="budget"
    )
