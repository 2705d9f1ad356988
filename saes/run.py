"""A training run that can be stopped at any time, and goes on to the same end.

1. A run without a checkpoint begins by measuring the stream's scale; one with a checkpoint goes on from it.
2. Steps follow, and now and then the whole state is saved: the shuffle buffer is most of it, 1 GB of a wide model, so
   that the pause between two saves grows with what a save takes.
3. A run that is out of time before its last step saves its state and says so.
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
"""The stream's first ones, on which its scale is measured."""
REPORT_EVERY = 50
"""Steps."""
SAVING_SHARE = 0.05
"""Of a run's time, what saving its state takes at most."""

Report = TypeVar("Report")


class TrainConfig(Frozen):
    """What a training run depends on but its stream and its recipes.

    tokens:           how many to train on, repeats counted
    device:           where it is trained, as torch names it
    autocast:         products in bfloat16 (mixed precision), weights and moments in float32; for hardware that has it
    checkpoint_every: seconds between two saved states, more where saving takes long; 0 for after every step
    """

    tokens: int = Field(default=1_600_000, ge=1)
    batch_tokens: int = Field(default=2048, ge=1)
    device: str = "cpu"
    autocast: bool = False
    checkpoint_every: float = Field(default=60.0, ge=0)

    @classmethod
    def here(cls, **fields: Any) -> Self:
        """For this machine: on its GPU in mixed precision, where it has one."""
        return cls(**({"device": "cuda", "autocast": True} if torch.cuda.is_available() else {}), **fields)

    @property
    def steps(self) -> int:
        return max(1, self.tokens // self.batch_tokens)

    @property
    def tokens_trained(self) -> int:
        """Whole batches alone."""
        return self.steps * self.batch_tokens

    def wanted(self, buffer_tokens: int) -> int:
        """Tokens that a run takes from its stream, those for its scale and for the shuffle buffer besides."""
        return self.tokens + SCALE_BATCHES * self.batch_tokens + buffer_tokens


class ResumableRun(Protocol[Report]):
    """Something in training."""

    config: TrainConfig

    @property
    def done(self) -> int:
        """Steps so far."""
        ...

    def scale(self) -> None:
        """Measures the stream, before the first step."""
        ...

    def step(self) -> list[Report]:
        """Makes a step. What is to be told of it, which of most steps is nothing."""
        ...

    def state(self) -> dict[str, Any]:
        """Everything that the next steps depend on."""
        ...

    def load(self, state: Mapping[str, Any]) -> None:
        """Raises InvalidInput for the state of another run."""
        ...


def resume_run(
    run: ResumableRun[Report],
    checkpoint: Path | None = None,
    progress: Callable[[Report], None] = lambda report: None,
    until: float = math.inf,
) -> None:
    """To the end. ``checkpoint``: the file that keeps the state, and from which the run goes on if it is there.

    until: when it must be done, in seconds of ``time.monotonic``
    Raises InvalidInput for the checkpoint of another run, CorruptArtifact, BudgetExceeded where the time is over.
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
    """The seconds that it took."""
    started = time.monotonic()
    save_state(checkpoint, run.state())
    return time.monotonic() - started


def pause(config: TrainConfig, took: float) -> float:
    """Seconds until the state is saved again, after saving it ``took`` so many."""
    return max(config.checkpoint_every, took * (1 / SAVING_SHARE - 1)) if config.checkpoint_every else 0.0


def stop(run: ResumableRun[Report], checkpoint: Path | None) -> None:
    """Step 3. Raises BudgetExceeded."""
    kept = "nothing is kept"
    if checkpoint is not None:
        save(run, checkpoint)
        kept = "they are kept: start it again with more time, and it goes on from there"
    done = run.done * run.config.batch_tokens
    raise BudgetExceeded(
        f"the time is over after {done:,} of {run.config.tokens:,} training tokens; {kept}", param="budget"
    )


def check_asked(asked: Mapping[str, Any], state: Mapping[str, Any]) -> None:
    """asked: what only the state of the same run has. Raises InvalidInput."""
    for part, own in asked.items():
        if state.get(part) != own:
            raise InvalidInput(
                f"the checkpoint is of a run with another {part}: {state.get(part)}; give another folder, or remove it",
                param="out",
            )
