"""When a run ends and when it saves its state, on a stand-in whose steps and saves take a time that is set."""

from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

import saes.run
from featurehub.errors import BudgetExceeded
from saes.checkpoint import load_state
from saes.run import TrainConfig, resume_run


class Clocked:
    """Each step takes a second."""

    def __init__(self, config: TrainConfig, clock: SimpleNamespace) -> None:
        self.config, self.clock, self.done = config, clock, 0

    def scale(self) -> None: ...

    def step(self) -> list[int]:
        self.clock.now += 1.0
        self.done += 1
        return [self.done]

    def state(self) -> dict[str, Any]:
        return {"done": self.done, "buffer": torch.zeros(3)}

    def load(self, state: Mapping[str, Any]) -> None:
        self.done = state["done"]


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


def test_no_step_begins_when_the_time_is_over(tmp_path: Path, clock: SimpleNamespace) -> None:
    run = Clocked(config(4), clock)
    with pytest.raises(BudgetExceeded, match="after 30 of 40 training tokens; they are kept"):
        resume_run(run, tmp_path / "state", until=2.5)
    assert run.done == load_state(tmp_path / "state")["done"] == 3


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
