"""When a run ends and when it saves its state, on a stand-in whose steps and saves take a time that is set."""

from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

import saes.run
from saes.checkpoint import load_state
from saes.run import TrainConfig, resume_run


class Clocked:
    """Each step takes a second, and reading for ``burst`` steps, before the first of them, as many as they.

    places: of the schedule, at which steps were made
    """

    def __init__(self, config: TrainConfig, clock: SimpleNamespace, burst: int = 0) -> None:
        self.config, self.clock, self.burst = config, clock, burst
        self.done = self.skipped = 0
        self.places: list[int] = []

    @property
    def place(self) -> int:
        return self.done + self.skipped

    def skip(self, places: int) -> None:
        self.skipped += places

    def scale(self) -> None: ...

    def step(self) -> list[int]:
        if self.burst and self.done % self.burst == 0:
            self.clock.now += self.burst
        self.clock.now += 1.0
        self.places.append(self.place)
        self.done += 1
        return [self.done]

    def state(self) -> dict[str, Any]:
        return {"done": self.done, "skipped": self.skipped, "buffer": torch.zeros(3)}

    def load(self, state: Mapping[str, Any]) -> None:
        self.done, self.skipped = state["done"], state["skipped"]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr(saes.run, "time", SimpleNamespace(monotonic=lambda: clock.now))
    return clock


def config(steps: int, every: float = 60.0) -> TrainConfig:
    return TrainConfig(tokens=10 * steps, batch_tokens=10, checkpoint_every=every)


def test_a_run_whose_last_step_ends_late_is_done(tmp_path: Path, clock: SimpleNamespace) -> None:
    """Budgets are spent to the end: the time is over in the last step as often as not."""
    told: list[int] = []
    resume_run(Clocked(config(4), clock), tmp_path / "state", told.append, until=3.5)
    assert told == [1, 2, 3, 4]
    assert load_state(tmp_path / "state")["done"] == 4


def test_a_run_with_time_enough_makes_every_step_of_its_schedule(clock: SimpleNamespace) -> None:
    run = Clocked(config(400), clock)
    resume_run(run, until=401.0)
    assert run.places == list(range(400))


@pytest.mark.parametrize(("burst", "pace"), [(0, 1.0), (80, 2.0)])
def test_a_run_that_is_too_slow_makes_fewer_steps_and_ends_in_time_at_the_end_of_its_schedule(
    clock: SimpleNamespace, burst: int, pace: float
) -> None:
    run, told = Clocked(config(1000), clock, burst), list[tuple[int, int]]()
    resume_run(run, until=pace * 600, planned=lambda done, steps: told.append((done, steps)))
    assert run.places[-1] == 999
    assert sorted(run.places) == run.places
    assert told[0] == (0, 1000)
    assert told[-1][1] == run.done
    assert 500 <= run.done <= 600
    assert clock.now <= pace * 600 + 80


def test_when_the_time_is_over_a_few_steps_bring_the_rate_down(clock: SimpleNamespace) -> None:
    run = Clocked(config(1000), clock)
    resume_run(run, until=0.0)
    assert run.done == 20
    assert run.places[-1] == 999


def test_one_that_was_shortened_and_stopped_keeps_to_that(tmp_path: Path, clock: SimpleNamespace) -> None:
    class Stopped(Exception): ...

    def stop(step: int) -> None:
        if step == 300:
            raise Stopped

    whole, first, again = (Clocked(config(1000), clock) for _ in range(3))
    resume_run(whole, until=clock.now + 600)
    with pytest.raises(Stopped):
        resume_run(first, tmp_path / "state", stop, until=clock.now + 600)
    told: list[tuple[int, int]] = []
    resume_run(again, tmp_path / "state", until=clock.now + 10_000, planned=lambda *each: told.append(each))
    assert [steps for _, steps in told] == [whole.done]
    assert again.places == whole.places[-len(again.places) :]


@pytest.mark.parametrize(("takes", "saves"), [(0.0, 3), (10.0, 1)])
def test_a_state_that_takes_long_to_save_is_saved_less_often(
    tmp_path: Path, clock: SimpleNamespace, monkeypatch: pytest.MonkeyPatch, takes: float, saves: int
) -> None:
    saved: list[float] = []

    def save(path: Path, state: Mapping[str, Any]) -> None:
        saved.append(clock.now)
        clock.now += takes

    monkeypatch.setattr(saes.run, "save_state", save)
    resume_run(Clocked(config(200), clock), tmp_path / "state")
    assert len(saved) == saves + 1  # and at the end
    assert saved[0] == 60.0
    assert takes * (len(saved) - 1) <= 0.05 * clock.now
