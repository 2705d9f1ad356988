"""What the server says of its traffic: in answers, gauges, the log and the file of events; and who may begin anew."""

import asyncio
import json
import logging
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from prometheus_client import REGISTRY

from api import traffic_watch
from api.budget import Door, Refused
from api.engine import FakeEngine
from api.model import InputDriftOptions
from api.traffic import Traffic
from featurehub.errors import InvalidConfig
from featurehub.input_drift.monitor import ENOUGH
from featurehub.input_drift.sample import REQUESTS, Sample
from featurehub.store import Store
from tests.api.conftest import OTHER_SAE, SAE
from tests.input_drift import traffic as made_up

KEY = "the operator's"
WANTED = 512
D_SAE = 16


@pytest.fixture(autouse=True)
def sixteen_latents(monkeypatch: pytest.MonkeyPatch) -> None:
    """As many as the SAE of the small database has."""
    monkeypatch.setattr(made_up, "D_SAE", D_SAE)


def samples(seed: int, count: int, share: float = 0.0, strange: float = 0.0) -> Iterator[Sample]:
    """Of traffic of which the first topic, with the latents 0 and 1, has gained a share."""
    traffic = made_up.Traffic(seed, made_up.shifted(share), strange)
    return (sample._replace(sae=SAE) for sample in traffic.samples(count))


@pytest.fixture
def traffic(store: Store, tmp_path: Path) -> Iterator[Traffic]:
    traffic = Traffic(InputDriftOptions(folder=str(tmp_path / "drift"), requests=WANTED), store)
    assert traffic.start()
    yield traffic
    traffic.end()


@pytest.fixture
def client(serve: Callable[..., TestClient], traffic: Traffic) -> TestClient:
    client = serve()
    app: FastAPI = client.app  # type: ignore[assignment]
    app.state.featurehub = replace(app.state.featurehub, traffic=traffic, operator_key=KEY)
    return client


@pytest.fixture(autouse=True)
def logged(caplog: pytest.LogCaptureFixture) -> None:
    """Whichever level an engine that ran in this process has left behind."""
    caplog.set_level(logging.INFO, "vllm.featurehub")


def said(client: TestClient) -> dict[str, Any]:
    found = client.get("/v1/saes/demo-l2/input_drift")
    assert found.status_code == 200, found.text
    return found.json()


def events(traffic: Traffic) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (traffic.folder / "events.jsonl").read_text().splitlines()]


def test_an_alarm_names_the_features_that_moved_and_stays(
    client: TestClient, traffic: Traffic, caplog: pytest.LogCaptureFixture
) -> None:
    assert (said(client)["state"], said(client)["since"]) == ("learning", "")
    traffic.take(samples(0, WANTED // REQUESTS), 0.5)
    learned = said(client)
    assert learned["state"] == "normal"
    assert learned["reference"] == {"requests": WANTED, "tokens": WANTED * made_up.TOKENS}
    traffic.take(samples(1, 20), 0.6)
    assert said(client)["state"] == "normal"
    traffic.take(samples(2, 60, share=0.8), 0.7)
    moved = said(client)
    assert moved["state"] == "topics"
    assert moved["evidence_rates"] >= moved["alarm_at"] == ENOUGH
    assert moved["moved"][0]["latent"] in (0, 1)
    assert {each["name"] for each in moved["moved"]} >= {"pirate speech: matey, ship"}
    assert all(each["rate"]["now"] > each["rate"]["before"] for each in moved["moved"])
    assert [each["state"] for each in events(traffic)] == ["learning", "normal", "topics"]
    last = events(traffic)[-1]
    assert (last["sae"], last["id"], last["time"]) == ("demo-l2", SAE, moved["since"])
    assert last["moved"][0]["name"]
    [warning] = [each for each in caplog.records if each.levelno == logging.WARNING]
    assert "pirate speech: matey, ship (" in warning.getMessage()
    traffic.take(samples(3, 40), 0.8)
    assert said(client)["state"] == "topics"


def test_what_the_sae_cannot_express_is_said_with_its_share(
    client: TestClient, traffic: Traffic, caplog: pytest.LogCaptureFixture
) -> None:
    traffic.take(samples(0, WANTED // REQUESTS), 0.5)
    traffic.take(samples(1, 40, strange=0.9), 0.5)
    found = said(client)
    assert found["state"] == "outside"
    assert found["evidence_errors"] >= ENOUGH
    assert found["high_error"]["now"] > 0.3 > 0.1 > found["high_error"]["before"]
    assert "is outside of what the SAE can express" in caplog.text


def test_a_new_reference_is_for_operators_and_ends_an_alarm(client: TestClient, traffic: Traffic) -> None:
    traffic.take(samples(0, WANTED // REQUESTS), 0.5)
    traffic.take(samples(1, 40, strange=0.9), 0.5)
    path = "/v1/saes/demo-l2/input_drift"
    assert client.post(path).status_code == 403
    begun = client.post(path, headers={"x-featurehub-key": KEY})
    assert begun.status_code == 200
    assert (begun.json()["state"], begun.json()["reference"]["requests"]) == ("learning", 0)
    assert events(traffic)[-1]["state"] == "learning"
    traffic.take(samples(2, WANTED // REQUESTS, strange=0.9), 0.5)
    traffic.take(samples(3, 40, strange=0.9), 0.5)
    assert said(client)["state"] == "normal"


def test_a_server_that_starts_anew_knows_what_was_normal_and_one_process_watches(
    store: Store, traffic: Traffic, caplog: pytest.LogCaptureFixture
) -> None:
    traffic.take(samples(0, WANTED // REQUESTS), 0.5)
    traffic.take(samples(1, 40, share=0.8), 0.5)
    other = Traffic(traffic.options, store)
    assert not other.start()
    assert other.monitor(other.artifact(SAE)).found == "topics"
    with pytest.raises(InvalidConfig, match="another process watches"):
        other.restart(other.artifact(SAE))
    traffic.end()
    assert other.start()
    monitor = other.monitor(other.artifact(SAE))
    assert (monitor.found, monitor.requests) == ("topics", 40 * REQUESTS)
    other.end()
    other.file(SAE).write_bytes(b"broken")
    other.monitors.clear()
    assert other.monitor(other.artifact(SAE)).found == "learning"
    assert "input drift is learned anew" in caplog.text


def test_a_folder_that_cannot_be_written_to_stops_nothing(
    store: Store, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").touch()
    assert not Traffic(InputDriftOptions(folder=str(tmp_path / "file" / "in")), store).start()
    assert "input drift is not watched" in caplog.text


def test_samples_of_an_sae_that_was_removed_are_passed_over(traffic: Traffic) -> None:
    traffic.take([next(samples(0, 1))._replace(sae="e" * 64), next(samples(0, 1))], 0.5)
    assert set(traffic.monitors) == {SAE}


def test_an_sae_that_is_not_steered_with_is_not_watched(client: TestClient, serve: Callable[..., TestClient]) -> None:
    assert client.get("/v1/saes/other/input_drift").status_code == 501
    assert client.get("/v1/saes/nothing/input_drift").status_code == 404
    plain = serve().get("/v1/saes/demo-l2/input_drift")
    assert plain.status_code == 501
    assert "--input-drift-budget 0" in plain.json()["error"]["message"]
    assert OTHER_SAE not in plain.text


def test_the_engine_is_asked_again_and_again_unless_steering_costs_too_much(
    traffic: Traffic, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(traffic_watch, "EVERY", 0.001)
    traffic.end()  # So that it can be started by who watches.
    engine, door = FakeEngine(samples=[*samples(0, WANTED // REQUESTS), *samples(1, 3)]), Door()

    async def live() -> None:
        door.refused = Refused.READS
        async with traffic_watch.traffic_watched(engine, door, traffic):
            await asyncio.sleep(0.05)
            assert engine.shares == []
            door.refused = Refused.NOTHING
            for _ in range(500):
                if len(engine.shares) > 2:
                    break
                await asyncio.sleep(0.01)

    asyncio.run(live())
    assert set(engine.shares) == {0.01}
    gauge = {"sae": SAE}
    assert REGISTRY.get_sample_value("featurehub_input_drift_seconds") == 0.25
    assert REGISTRY.get_sample_value("featurehub_input_drift_state", {**gauge, "state": "normal"}) == 1
    assert REGISTRY.get_sample_value("featurehub_input_drift_state", {**gauge, "state": "topics"}) == 0
    assert REGISTRY.get_sample_value("featurehub_input_drift_tokens", gauge) == 3 * REQUESTS * made_up.TOKENS
    assert REGISTRY.get_sample_value("featurehub_input_drift_evidence", {**gauge, "of": "rates"}) is not None
    # It was saved when the server ended, and the lock is free.
    assert traffic.file(SAE).exists()
    assert traffic.start()


def test_nothing_is_asked_without_an_engine_or_where_it_is_turned_off() -> None:
    async def live() -> None:
        engine = FakeEngine()
        async with traffic_watch.traffic_watched(engine, Door(), None):
            await asyncio.sleep(0.01)
        assert engine.shares == []

    asyncio.run(live())


def test_an_engine_that_is_gone_is_asked_again(traffic: Traffic, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(traffic_watch, "EVERY", 0.001)
    traffic.end()  # So that it can be started by who watches.
    engine = FakeEngine(running=False)

    async def live() -> None:
        async with traffic_watch.traffic_watched(engine, Door(), traffic):
            await asyncio.sleep(0.05)
            engine.running = True
            await asyncio.sleep(0.2)

    asyncio.run(live())
    assert engine.shares
