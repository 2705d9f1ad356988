"""A training run that can be stopped at any time and resumed to the same result.

1. A run without a checkpoint begins by measuring the stream's scale; one with a checkpoint resumes from it.
2. Steps follow, and now and then the whole state is saved: the shuffle buffer is most of it, 1 GB for a wide model, so
   that the pause between two saves grows with what a save takes.
3. A run that will not get through in time is shortened: its schedule comes forward, so that it ends as a shorter run
   would (``saes.course``). The decision is saved with the state, and a run that is resumed keeps to it.
"""

import math
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol, Self, TypeVar

import torch
from pydantic import Field

from featurehub.errors import InvalidInput
from featurehub.settings import Frozen
from saes.checkpoint import load_state, save_state
from saes.course import Course
from saes.spans import stride

__all__ = ["REPORT_EVERY", "SCALE_BATCHES", "ResumableRun", "TrainConfig", "check_asked", "resume_run"]

SCALE_BATCHES = 20
"""Number of first batches on which the stream's scale is measured."""
REPORT_EVERY = 50
"""Number of steps from one report to the next."""
SPAN_BATCH = 512
"""Spans per step by default."""
SAVING_SHARE = 0.05
"""Largest share of a run's time that saving its state may take."""
JUDGED_EVERY, JUDGED_AFTER = 25, 1 / 3
"""Number of steps from one look at the pace to the next, and the share of the time after which the first is taken."""
FEWEST_LEFT, LEAST_SHARE = 20, 0.05
"""Steps that a shortened run still makes, at least, and as a share of those that it made: its rate has to come down."""

Report = TypeVar("Report")


class TrainConfig(Frozen):
    """Settings of a training run, apart from its stream and its recipes.

    Attributes:
        tokens: Vectors to train on, counting repeats: tokens, or means of spans.
        batch_tokens: Vectors per step.
        span: Tokens of which a vector is the mean (``saes.spans``); 1 trains on single tokens.
        device: Where to train, as torch names it.
        autocast: Whether products are in bfloat16 (mixed precision), with weights and moments in float32.
        checkpoint_every: Seconds between two saves, longer where saving is slow; 0 saves after every step.
    """

    tokens: int = Field(default=1_600_000, ge=1)
    batch_tokens: int = Field(default=2048, ge=1)
    span: int = Field(default=1, ge=1)
    device: str = "cpu"
    autocast: bool = False
    checkpoint_every: float = Field(default=60.0, ge=0)

    @classmethod
    def here(cls, **fields: Any) -> Self:
        """Returns settings for this machine: mixed precision on its GPU if it has one, else the CPU.

        Args:
            **fields: Other fields of the settings, as for the class. One that is None has its default; that of
                ``batch_tokens`` is smaller for spans, which take longer to read.
        """
        own: dict[str, Any] = {"device": "cuda", "autocast": True} if torch.cuda.is_available() else {}
        own |= {"batch_tokens": SPAN_BATCH} if fields.get("span", 1) > 1 else {}
        return cls(**(own | {name: value for name, value in fields.items() if value is not None}))

    @property
    def steps(self) -> int:
        """Number of steps, at least 1."""
        return max(1, self.tokens // self.batch_tokens)

    @property
    def tokens_trained(self) -> int:
        """Vectors of all steps: whole batches only."""
        return self.steps * self.batch_tokens

    @property
    def unit(self) -> str:
        """What is trained on, in a word for people."""
        return "tokens" if self.span == 1 else "spans"

    def wanted(self, buffer_tokens: int) -> int:
        """Returns how many tokens are read: for training, for its scale, and for the shuffle buffer.

        Args:
            buffer_tokens: Size of the shuffle buffer, in vectors.
        """
        return stride(self.span) * (self.tokens + SCALE_BATCHES * self.batch_tokens + buffer_tokens)


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

    @property
    def place(self) -> int:
        """The place of the schedule at which the next step is made: ``done``, and what was skipped."""
        ...

    def skip(self, places: int) -> None:
        """Moves the schedule on, as if so many steps had been made."""
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
    planned: Callable[[int, int], None] = lambda done, steps: None,
) -> None:
    """Runs the remaining steps, starting from the checkpoint if there is one.

    Args:
        run: The run, as newly made.
        checkpoint: File that keeps the run's state; None keeps nothing.
        progress: Called with every report.
        until: When the run should be done, in seconds of ``time.monotonic``. If its steps take longer, it makes fewer.
        planned: Called with the steps made and the steps in all, at the start and whenever they become fewer.

    Raises:
        InvalidInput: If the checkpoint is of another run.
        CorruptArtifact: If the checkpoint cannot be read.
    """
    course = Course(run.config.steps, run.config.steps)
    if checkpoint is not None and checkpoint.is_file():
        state = load_state(checkpoint)
        run.load(state)
        course = Course(*state["course"])
    else:
        run.scale()
    planned(run.done, course.steps)
    # The moments of latents that no longer fire decay into denormal numbers, which a CPU handles many times slower.
    torch.set_flush_denormal(True)
    try:
        make_steps(run, course, checkpoint, progress, Clock(until, run.done), planned)
    finally:
        torch.set_flush_denormal(False)


class Clock:
    """Says how many steps there is time for, by the pace of the steps made so far.

    Steps come in bursts: after a chunk was read, many need no reading. Just before the next chunk, all that was read is
    used up, and the mean time of a step is what it will be; at any other time it is more. So the least of the latest
    means counts.
    """

    def __init__(self, until: float, done: int) -> None:
        self.until, self.first, self.began = until, done, time.monotonic()
        self.means: list[float] = []

    def allowed(self, done: int, left: int) -> int:
        """How many of the ``left`` steps can be made in time: at least what a rate needs to come down."""
        now, made = time.monotonic(), done - self.first
        least = max(FEWEST_LEFT, int(LEAST_SHARE * done))
        if now >= self.until:
            return min(left, least)
        if not made or made % JUDGED_EVERY:
            return left
        self.means.append((now - self.began) / made)
        if now - self.began < JUDGED_AFTER * (self.until - self.began):
            return left
        pace = min(self.means[len(self.means) // 2 :])
        return min(left, max(least, int((self.until - now) / pace))) if pace else left


def make_steps(
    run: ResumableRun[Report],
    course: Course,
    checkpoint: Path | None,
    progress: Callable[[Report], None],
    clock: Clock,
    planned: Callable[[int, int], None],
) -> None:
    due = time.monotonic() + run.config.checkpoint_every
    while run.done < course.steps:
        left = clock.allowed(run.done, course.steps - run.done)
        if left < course.steps - run.done:
            course, due = course.shortened(run.done, left), -math.inf
            planned(run.done, course.steps)
        if places := course.at(run.done) - run.place:
            run.skip(places)
        for each in run.step():
            progress(each)
        if checkpoint is not None and time.monotonic() >= due:
            due = time.monotonic() + pause(run.config, save(run, course, checkpoint))
    if checkpoint is not None:
        save(run, course, checkpoint)


def save(run: ResumableRun[Any], course: Course, checkpoint: Path) -> float:
    """Saves the run's state and returns the seconds that it took."""
    started = time.monotonic()
    save_state(checkpoint, {**run.state(), "course": list(course)})
    return time.monotonic() - started


def pause(config: TrainConfig, took: float) -> float:
    """Returns the seconds until the next save, where the last one took ``took`` seconds."""
    return max(config.checkpoint_every, took * (1 / SAVING_SHARE - 1)) if config.checkpoint_every else 0.0


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
