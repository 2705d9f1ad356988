"""The meter of our part of the steps: what counts, what does not, and that both runners and the op drive it."""

from contextlib import suppress
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from featurehub.edits import Read, Steering
from featurehub.engine import hook, runner_v1, runner_v2, worker
from featurehub.engine.config import EngineConfig
from featurehub.engine.hookset import HookSet, install
from featurehub.engine.overhead import Meter, Seconds
from featurehub.engine.worker import HookWorker
from featurehub.seals import Maker
from tests.engine.seals import sealed
from tests.engine.world import D_MODEL


class Clock:
    """Shows the time that a test sets; ``ticks`` pass by themselves with every look."""

    def __init__(self, ticks: float = 0.0) -> None:
        self.now, self.ticks = 100.0, ticks

    def __call__(self) -> float:
        self.now += self.ticks
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def meter(clock: Clock) -> Meter:
    return Meter(clock)


def step(meter: Meter, clock: Clock, continues: bool, host: float = 1.0, op: float = 2.0, whole: float = 10.0) -> None:
    meter.begin_step(continues)
    with meter.host:
        clock.now += host
    with meter.op:
        clock.now += op
    clock.now += whole - host - op


def test_a_step_counts_when_the_next_one_continues(meter: Meter, clock: Clock) -> None:
    step(meter, clock, continues=False)
    assert meter.counted == (0, 0, 0)
    step(meter, clock, continues=True, host=3.0)
    assert meter.counted == Seconds(steps=10, host=1, op=2)
    step(meter, clock, continues=True)
    assert meter.counted == Seconds(steps=20, host=4, op=4)


def test_waiting_for_somebody_to_come_counts_neither_way(meter: Meter, clock: Clock) -> None:
    for _ in range(2):
        step(meter, clock, continues=False)
        clock.now += 3600
        with meter.host:
            clock.now += 5
    assert meter.counted == (0, 0, 0)
    step(meter, clock, continues=False)
    step(meter, clock, continues=True)
    assert meter.counted == Seconds(steps=10, host=1, op=2)


def test_what_fails_in_our_part_is_our_part(meter: Meter, clock: Clock) -> None:
    step(meter, clock, continues=False)
    with suppress(ZeroDivisionError), meter.host:
        clock.now += 4
        raise ZeroDivisionError
    meter.begin_step(continues=True)
    assert meter.counted.host == 5


@pytest.fixture
def ticking(monkeypatch: pytest.MonkeyPatch) -> Meter:
    """The meter that the adapters, the op and the worker use, on a clock of which each look takes a second."""
    meter = Meter(Clock(ticks=1.0))
    for module in (hook, runner_v1, runner_v2, worker):
        monkeypatch.setattr(module, "METER", meter)
    return meter


@pytest.fixture
def hooks(world_config: EngineConfig, ticking: Meter) -> Any:
    hooks = HookSet(world_config, 4, 64, D_MODEL)
    install(hooks)
    yield hooks
    install(None)


def run_op(hooks: HookSet) -> None:
    hook.edit_stream(torch.zeros(2, D_MODEL), torch.zeros(2, D_MODEL), hooks.hooks[0].name)


def reading(key: str) -> Any:
    """A vLLM ``NewRequestData`` of a request that reads."""
    steering = sealed(Steering(reads=(Read(sae="a", top_k=2),), report=key, nonce=key), Maker.ADMISSION)
    parameters = SimpleNamespace(extra_args={"featurehub": steering.to_json()})
    return SimpleNamespace(req_id=key, prompt_token_ids=[1, 2], sampling_params=parameters, num_computed_tokens=0)


def test_v1_measures_its_steps(hooks: HookSet, ticking: Meter) -> None:
    def begin(ids: list[str], new: list[Any]) -> None:
        batch = SimpleNamespace(
            req_ids=ids,
            req_id_to_index={each: i for i, each in enumerate(ids)},
            num_computed_tokens_cpu=np.zeros(len(ids), np.int32),
            generators={},
        )
        runner.input_batch, runner.requests = batch, dict.fromkeys(ids)
        scheduled = SimpleNamespace(scheduled_new_reqs=new)
        runner_v1.begin_step(runner, None, scheduled, np.full(len(ids), 2))

    tokens = torch.zeros(8, dtype=torch.int32)
    runner: Any = SimpleNamespace(device=torch.device("cpu"), input_ids=SimpleNamespace(cpu=tokens, gpu=tokens))
    begin(["a"], [reading("a")])
    run_op(hooks)
    assert HookWorker().featurehub_overhead() == {"steps": 0, "host": 0, "op": 0, "reading": 1}
    begin(["a", "b"], [reading("b")])
    assert ticking.counted == Seconds(steps=5, host=1, op=1)
    begin(["c"], [reading("c")])
    assert ticking.counted.steps == 5, "nobody was there before"
    assert HookWorker().featurehub_overhead()["reading"] == 1


def test_v2_measures_its_steps_and_what_comes_and_goes(hooks: HookSet, ticking: Meter) -> None:
    class State:
        def add_request(self, req_index: int, request: Any) -> None: ...
        def remove_request(self, req_id: str) -> None: ...
        def prepare_inputs(self, input_batch: Any, req_states: Any) -> dict[str, Any]:
            return {}

        def prepare_dummy_inputs(self, num_reqs: int, num_tokens: int) -> dict[str, Any]:
            return {}

    def begin(*ids: str) -> None:
        tokens = np.full(len(ids), 2)
        state.prepare_inputs(
            SimpleNamespace(
                req_ids=list(ids), num_reqs=len(ids), num_tokens=2 * len(ids), num_scheduled_tokens=tokens,
                input_ids=torch.zeros(2 * len(ids), dtype=torch.int32),
            ), None,
        )  # fmt: skip

    state = runner_v2.hooked_state(State)()
    state.add_request(0, reading("a"))
    begin("a")
    run_op(hooks)
    assert HookWorker().featurehub_overhead()["reading"] == 1
    begin("a")
    assert ticking.counted == Seconds(steps=5, host=1, op=1)
    state.add_request(1, reading("b"))
    state.remove_request("a")
    HookWorker().featurehub_reports(["a"])
    begin("b")
    assert ticking.counted.steps == 5, "b has just come"
    begin("b")
    assert ticking.counted == Seconds(steps=8, host=2, op=1)
    state.remove_request("b")
    assert HookWorker().featurehub_overhead()["reading"] == 0
