"""A training run that can be stopped at any time and resumed to the same result.

1. A run without a checkpoint begins by measuring the stream's scale; one with a checkpoint resumes from it.
2. Steps follow, and now and then the whole state is saved: the shuffle buffer is most of it, 1 GB for a wide model, so
   that the pause between two saves grows with what a save takes.
3. A run that is out of time before its last step saves its state and raises an error.
"""

import math
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol, Self, TypeVar

import torch
from pydantic import Field

from featurehub.errors import BudgetExceeded, InvalidInput
from featurehub.settings import Frozen
from saes.checkpoint import load_state, save_state

__all__ = ["REPORT_EVERY", "SCALE_BATCHES", "ResumableRun", "TrainConfig", "check_asked", "resume_run"]

SCALE_BATCHES = 20
"""Number of first batches on which the stream's scale is measured."""
REPORT_EVERY = 50
"""Number of steps from one report to the next."""
SAVING_SHARE = 0.05
"""Largest share of a run's time that saving its state may take."""

Report = TypeVar("Report")


class TrainConfig(Frozen):
    """Settings of a training run, apart from its stream and its recipes.

    Attributes:
        tokens: Tokens to train on, counting repeats.
        batch_tokens: Tokens per step.
        device: Where to train, as torch names it.
        autocast: Whether products are in bfloat16 (mixed precision), with weights and moments in float32.
        checkpoint_every: Seconds between two saves, longer where saving is slow; 0 saves after every step.
    """

    tokens: int = Field(default=1_600_000, ge=1)
    batch_tokens: int = Field(default=2048, ge=1)
    device: str = "cpu"
    autocast: bool = False
    checkpoint_every: float = Field(default=60.0, ge=0)

    @classmethod
    def here(cls, **fields: Any) -> Self:
        """Returns settings for this machine: mixed precision on its GPU if it has one, else the CPU.

        Args:
            **fields: Other fields of the settings, as for the class.
        """
        return cls(**({"device": "cuda", "autocast": True} if torch.cuda.is_available() else {}), **fields)

    @property
    def steps(self) -> int:
        """Number of steps, at least 1."""
        return max(1, self.tokens // self.batch_tokens)

    @property
    def tokens_trained(self) -> int:
        """Tokens of all steps: whole batches only."""
        return self.steps * self.batch_tokens

    def wanted(self, buffer_tokens: int) -> int:
        """Returns how many tokens a run takes from its stream: for training, for its scale, and for the shuffle buffer.

        Args:
            buffer_tokens: Size of the shuffle buffer, in tokens.
        """
        return self.tokens + SCALE_BATCHES * self.batch_tokens + buffer_tokens


class ResumableRun(Protocol[Report]):
    """Something in training that can be saved and resumed by ``resume_run``.

    Attributes:
        config: The run's settings.
    """

    config: TrainConfig

    @property
    def done(self) -> int:
        """Steps made so far."""
        ...

    def scale(self) -> None:
        """Measures the stream's scale, before the first step."""
        ...

    def step(self) -> list[Report]:
        """Makes a step and returns its reports; most steps have none."""
        ...

    def state(self) -> dict[str, Any]:
        """Returns everything that the next steps depend on."""
        ...

    def load(self, state: Mapping[str, Any]) -> None:
        """Restores a saved state.

        Raises:
            InvalidInput: If the state is of another run.
        """
        ...


def resume_run(
    run: ResumableRun[Report],
    checkpoint: Path | None = None,
    progress: Callable[[Report], None] = lambda report: None,
    until: float = math.inf,
) -> None:
    """Runs the remaining steps, starting from the checkpoint if there is one.

    Args:
        run: The run, as newly made.
        checkpoint: File that keeps the run's state; None keeps nothing.
        progress: Called with every report.
        until: Deadline, in seconds of ``time.monotonic``.

    Raises:
        InvalidInput: If the checkpoint is of another run.
        CorruptArtifact: If the checkpoint cannot be read.
        BudgetExceeded: If the deadline passes before the last step; with a checkpoint, the state is saved first.
    """
    if checkpoint is not None and checkpoint.is_file():
        run.load(load_state(checkpoint))
    else:
        run.scale()
    # The moments of latents that no longer fire decay into denormal numbers, which a CPU handles many times slower.
    torch.set_flush_denormal(True)
    try:
        make_steps(run, checkpoint, progress, until)
    finally:
        torch.set_flush_denormal(False)


def make_steps(
    run: ResumableRun[Report], checkpoint: Path | None, progress: Callable[[Report], None], until: float
) -> None:
    due = time.monotonic() + run.config.checkpoint_every
    while run.done < run.config.steps:
        if time.monotonic() > until:
            stop(run, checkpoint)
        for each in run.step():
            progress(each)
        if checkpoint is not None and time.monotonic() >= due:
            due = time.monotonic() + pause(run.config, save(run, checkpoint))
    if checkpoint is not None:
        save(run, checkpoint)


def save(run: ResumableRun[Any], checkpoint: Path) -> float:
    """Saves the run's state and returns the seconds that it took."""
    started = time.monotonic()
    save_state(checkpoint, run.state())
    return time.monotonic() - started


def pause(config: TrainConfig, took: float) -> float:
    """Returns the seconds until the next save, where the last one took ``took`` seconds."""
    return max(config.checkpoint_every, took * (1 / SAVING_SHARE - 1)) if config.checkpoint_every else 0.0


def stop(run: ResumableRun[Report], checkpoint: Path | None) -> None:
    """Step 3: saves the state and raises BudgetExceeded."""
    kept = "nothing is kept"
    if checkpoint is not None:
        save(run, checkpoint)
        kept = "they are kept: start it again with more time, and it goes on from there"
    done = run.done * run.config.batch_tokens
    raise BudgetExceeded(
        f"the time is over after {done:,} of {run.config.tokens:,} training tokens; {kept}", param="budget"
    )


def check_asked(asked: Mapping[str, Any], state: Mapping[str, Any]) -> None:
    """Checks that a saved state belongs to the run that is being resumed.

    Args:
        asked: The parts of a state that identify a run, such as its recipes, with this run's values.
        state: The saved state.

    Raises:
        InvalidInput: If one of these parts differs.
    """
    for part, own in asked.items():
        if state.get(part) != own:
            raise InvalidInput(
                f"the checkpoint is of a run with another {part}: {state.get(part)}; give another folder, or remove it",
                param="out",
            )
