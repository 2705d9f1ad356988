"""The overhead budget at the door: over it, reads yield first, then conditions, never other edits; and back again."""

import asyncio
import logging
from collections.abc import Iterator
from typing import Any

import pytest
from fastapi.testclient import TestClient
from prometheus_client import generate_latest

from api import overhead
from api.budget import LEAST, REOPEN, WINDOW, Door, Refused, parse_budget
from api.engine import FakeEngine, Overhead
from api.errors import status_of
from api.fake import Echoes
from api.request import SteeringRequest
from featurehub.errors import InvalidInput, OverheadExceeded
from featurehub.settings import Limits

BUDGET = 0.03
READ: dict[str, Any] = {"return_activations": {"top_k": 3}, "features": {"banking": 0.5}}
WHEN: dict[str, Any] = {"feature": "excited tone", "value": 0.2}
CONDITIONAL: dict[str, Any] = {"features": {"banking": {"weight": 0.5, "when": WHEN}}}
ABORTING: dict[str, Any] = {"abort_when": [WHEN]}
PLAIN: dict[str, Any] = {"features": {"banking": 0.5}}


class Steps:
    """An engine's steps, whose seconds pass as a test says."""

    def __init__(self, door: Door) -> None:
        self.door = door
        self.cost = Overhead()
        door.see(self.cost)

    def run(self, share: float, readings: int = WINDOW, reading: int = 0, busy: float = 1.0) -> Refused:
        """So many readings, one a second, of steps that take ``busy`` of each."""
        for _ in range(readings):
            steps, host, op, _ = self.cost
            self.cost = Overhead(steps + busy, host + 0.25 * share * busy, op + 0.75 * share * busy, reading)
            self.door.see(self.cost)
        return self.door.refused


@pytest.fixture
def door() -> Door:
    return Door(BUDGET)


@pytest.fixture
def steps(door: Door) -> Steps:
    return Steps(door)


def asked(body: dict[str, Any]) -> SteeringRequest:
    return SteeringRequest.take(dict(body), Limits())


def refused(door: Door) -> list[str]:
    """What each kind of request is refused for; "" for one that is let in."""
    params = []
    for body in (READ, CONDITIONAL, ABORTING, PLAIN):
        try:
            door.check(asked(body))
            params.append("")
        except OverheadExceeded as error:
            params.append(error.param or "?")
    return params


def test_over_the_limit_and_back(door: Door, steps: Steps) -> None:
    assert steps.run(0.9 * BUDGET) is Refused.NOTHING
    assert refused(door) == ["", "", "", ""]
    assert steps.run(2 * BUDGET, reading=4) is Refused.READS
    assert refused(door) == ["return_activations", "", "", ""]
    assert steps.run(2 * BUDGET, 3 * WINDOW, reading=1) is Refused.READS, "while somebody still reads"
    assert steps.run(2 * BUDGET, WINDOW) is Refused.READS, "the window still has the one who read"
    assert steps.run(2 * BUDGET, 1) is Refused.CONDITIONS
    assert refused(door) == ["return_activations", "features.banking.when", "abort_when.0", ""]
    assert steps.run(2 * BUDGET, 3 * WINDOW) is Refused.CONDITIONS
    assert steps.run(0.5 * BUDGET) is Refused.READS
    assert steps.run(0.5 * BUDGET, WINDOW - 1) is Refused.READS, "judged by what came after the last change"
    assert steps.run(0.5 * BUDGET, 1) is Refused.NOTHING
    assert refused(door) == ["", "", "", ""]


def test_it_does_not_flap_around_the_budget(door: Door, steps: Steps) -> None:
    assert steps.run(1.1 * BUDGET) is Refused.READS
    assert steps.run((REOPEN + 1) / 2 * BUDGET, 4 * WINDOW) is Refused.READS
    assert steps.run(0.9 * REOPEN * BUDGET, 2 * WINDOW) is Refused.NOTHING


def test_one_slow_step_is_judged_with_those_around_it(steps: Steps) -> None:
    assert steps.run(0.0, WINDOW - 1) is Refused.NOTHING
    for _ in range(3):
        assert steps.run(4 * BUDGET, 1) is Refused.NOTHING
        assert steps.run(0.0, WINDOW) is Refused.NOTHING


def test_nobody_is_refused_for_ever_because_everybody_was_refused(door: Door, steps: Steps) -> None:
    steps.run(10 * BUDGET)
    assert steps.run(10 * BUDGET, 2 * WINDOW) is Refused.CONDITIONS
    assert steps.run(0.0, 2 * WINDOW, busy=0.0) is Refused.NOTHING
    assert sum(door.shares) == 0


def test_an_engine_with_time_to_spare_refuses_nobody(steps: Steps) -> None:
    assert steps.run(20 * BUDGET, 4 * WINDOW, busy=0.9 * LEAST / WINDOW) is Refused.NOTHING


def test_without_a_budget_it_is_measured_and_nothing_refused() -> None:
    door = Door()
    assert Steps(door).run(0.5, 4 * WINDOW) is Refused.NOTHING
    assert door.shares == pytest.approx((0.125, 0.375))
    assert refused(door) == ["", "", "", ""]


def test_the_log_says_once_what_is_refused_from_now_on(steps: Steps, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "vllm.featurehub"):
        steps.run(2 * BUDGET, 3 * WINDOW, reading=1)
        steps.run(0.5 * BUDGET, 3 * WINDOW)
    closed, opened = caplog.messages
    assert "takes 6 % of each step, of a budget of 3 %" in closed
    assert "new requests that read activations" in closed
    assert opened.endswith("nothing")


def test_a_refusal_names_what_was_measured_the_budget_and_what_to_do(door: Door, steps: Steps) -> None:
    steps.run(2 * BUDGET)
    with pytest.raises(OverheadExceeded, match=r"takes 6 %.*budget of 3 %.*without 'return_activations', or .*later"):
        door.check(asked(READ))
    assert status_of(OverheadExceeded(""))[0] == 503


@pytest.mark.parametrize(("text", "share"), [("3%", 0.03), ("0.03", 0.03), (" 2.5 % ", 0.025), ("99%", 0.99)])
def test_budgets(text: str, share: float) -> None:
    assert parse_budget(text) == pytest.approx(share)


@pytest.mark.parametrize("text", ["", "3", "0", "0%", "-1%", "100%", "1", "nan", "inf", "3%%", "3% of it", "much"])
def test_what_is_no_budget(text: str) -> None:
    with pytest.raises(InvalidInput, match=r"above 0 and below 100 %, such as 3%"):
        parse_budget(text)


@pytest.fixture
def closed(client: TestClient) -> Iterator[Door]:
    """The door of the client's server, closed."""
    door = client.app.state.featurehub.door  # type: ignore[attr-defined]
    door.budget, door.refused = BUDGET, Refused.CONDITIONS
    return door


def test_over_http(client: TestClient, echoed: Echoes, closed: Door) -> None:
    chat = {"model": "demo", "messages": [{"role": "user", "content": "ahoy"}]}
    for body, param in ((READ, "return_activations"), (ABORTING, "abort_when.0")):
        answer = client.post("/v1/chat/completions", json=chat | body)
        assert answer.status_code == 503
        assert answer.headers["retry-after"]
        error = answer.json()["error"]
        assert (error["code"], error["param"]) == ("overhead_exceeded", param)
    answer = client.post("/v1/chat/completions", json=chat | PLAIN)
    assert answer.status_code == 200, answer.text
    assert client.post("/v1/chat/completions", json=chat).status_code == 200
    assert len(echoed) == 2
    closed.refused = Refused.NOTHING
    for body in (READ, CONDITIONAL, ABORTING):
        client.post("/v1/chat/completions", json=chat | body)
    assert len(echoed) == 5


def gauges() -> dict[str, float]:
    lines = [line for line in generate_latest().decode().splitlines() if line.startswith("featurehub_overhead")]
    return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines)}


def test_the_engine_is_watched_while_the_server_lives(monkeypatch: pytest.MonkeyPatch) -> None:
    """An engine that is gone for a while included; the gauges say what the door knows."""
    monkeypatch.setattr(overhead, "EVERY", 0.0)
    engine, door = FakeEngine(), Door(BUDGET)

    async def until(reached: Refused, share: float) -> None:
        while door.refused is not reached:
            steps, _, op, _ = engine.cost
            engine.cost = Overhead(steps + 1.0, 0.0, op + share, 0)
            await asyncio.sleep(0)

    async def serve() -> None:
        async with overhead.watched(engine, door):
            await until(Refused.READS, 0.5)
            engine.running = False
            await asyncio.sleep(0.01)
            engine.running = True
            await until(Refused.CONDITIONS, 0.5)
            await asyncio.sleep(0.01)
        last = door.seen[-1]
        engine.cost = Overhead(steps=1e6)
        await asyncio.sleep(0.01)
        assert door.seen[-1] == last

    asyncio.run(asyncio.wait_for(serve(), 10))
    shown = gauges()
    assert shown["featurehub_overhead_budget"] == BUDGET
    assert shown['featurehub_overhead_share{part="op"}'] == pytest.approx(door.shares.op)


def test_what_is_no_longer_measured_refuses_nobody(closed: Door, caplog: pytest.LogCaptureFixture) -> None:
    class Broken(FakeEngine):
        async def overhead(self) -> Overhead:
            raise RuntimeError("a worker failed")

    async def serve() -> None:
        async with overhead.watched(Broken(), closed):
            await asyncio.sleep(0.01)
            assert closed.refused is Refused.NOTHING

    with caplog.at_level(logging.ERROR, "vllm.featurehub"):
        asyncio.run(serve())
    assert "no longer measured" in caplog.text
    assert "a worker failed" in caplog.text


def test_without_an_engine_there_is_nothing_to_watch() -> None:
    async def serve() -> None:
        async with overhead.watched(None, Door()):
            await asyncio.sleep(0)

    asyncio.run(serve())
