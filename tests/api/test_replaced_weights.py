"""The weights on the device are others than when the server started: nothing is called fresh any more."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from fastapi.testclient import TestClient

from api.engine import DeviceWeights, FakeEngine
from api.model import ServedModel
from api.weights import booted, changed, follow
from featurehub.artifacts.manifest import HookPoint
from featurehub.features import OnStale, State
from featurehub.store import Store
from featurehub.verdicts import DriftReport, FeatureVerdict
from tests.api.models import model
from tests.api.reports import report as reported

SAE = "a" * 64
OLD = DeviceWeights("old", {"model.layers.0.w": "1", "model.layers.9.w": "1", "lm_head.weight": "1"})
NEW = DeviceWeights("new", {"model.layers.0.w": "1", "model.layers.9.w": "2", "lm_head.weight": "1"})
Serve = Callable[..., TestClient]


@pytest.fixture
def client(serve: Serve, engine: FakeEngine) -> TestClient:
    """A server that has summed its weights."""
    client, engine.loaded = serve(), OLD
    put(client, asyncio.run(booted(served(client), engine)))
    computed_by(engine, "old")
    return client


def served(client: TestClient) -> ServedModel:
    return client.app.state.featurehub.served  # type: ignore[attr-defined]


def put(client: TestClient, told: ServedModel) -> None:
    state = client.app.state  # type: ignore[attr-defined]
    state.featurehub = replace(state.featurehub, served=told)


def computed_by(engine: FakeEngine, *weights: str) -> None:
    engine.default = reported(7, weights=weights)


def ask(client: TestClient, **body: Any) -> Any:
    chat = {"model": "demo", "messages": [{"role": "user", "content": "hi"}], "features": {"pirate speech": 0.5}}
    return client.post("/v1/chat/completions", json=chat | body)


def told(client: TestClient, **body: Any) -> tuple[str, str, list[str]]:
    answer = ask(client, **body).json()["featurehub"]
    codes = [each["code"] for each in answer["warnings"]]
    return answer["applied"][0]["state"], answer["saes"][0]["state"], codes


def followed(client: TestClient) -> None:
    asyncio.run(follow(client.app.state))  # type: ignore[attr-defined]


def test_the_weights_that_it_started_with_leave_all_as_it_was(client: TestClient, engine: FakeEngine) -> None:
    followed(client)
    assert told(client) == ("fresh", "fresh", [])
    assert client.get("/v1/saes").json()["weights"] == {"booted": "old", "loaded": "old", "replaced": False}
    assert engine.salts == [f"{model().function}:old"]


@pytest.mark.parametrize("weights", [("old", "new"), ("new",), ()])
def test_an_answer_that_other_weights_computed_says_so_before_the_server_knows(
    client: TestClient, engine: FakeEngine, weights: tuple[str, ...]
) -> None:
    computed_by(engine, *weights)
    assert told(client) == ("unchecked", "unchecked", ["weights_replaced"])


def test_such_an_answer_is_withheld_where_unchecked_features_are_refused(
    client: TestClient, engine: FakeEngine
) -> None:
    computed_by(engine, "old", "new")
    put(client, served(client).model_copy(update={"on_unchecked": OnStale.REFUSE}))
    refused = ask(client)
    assert refused.status_code == 409
    assert "replaced" in refused.json()["error"]["message"]
    assert told(client, steer={"on_stale": "warn"})[2] == ["weights_replaced"]


def test_once_it_knows_everything_is_unchecked_and_blocks_have_another_salt(
    client: TestClient, engine: FakeEngine
) -> None:
    engine.loaded = NEW
    computed_by(engine, "new")
    followed(client)
    state, sae, codes = told(client)
    assert (state, sae, codes) == ("unchecked", "unchecked", ["feature_unchecked"])
    assert client.get(f"/v1/saes/{SAE}").json()["state"] == "unchecked"
    assert client.get("/healthz").json()["state"] == "unchecked"
    assert client.get("/v1/saes").json()["weights"]["replaced"]
    assert engine.salts[-1] == f"{model().function}:new"
    engine.loaded = OLD
    computed_by(engine, "old")
    followed(client)
    assert told(client) == ("fresh", "fresh", [])


def test_a_report_on_the_new_weights_counts(client: TestClient, engine: FakeEngine, store: Store) -> None:
    verdict = FeatureVerdict(latent=0, label="pirate speech", reads=State.STALE, steers=State.UNCHECKED, reason="gone")
    report = DriftReport(
        id="on-new", artifact=SAE, model="demo", fingerprint="f" * 64, created="2026-01-03", state=State.STALE,
        reason="measured", metrics={}, weights="new", features=(verdict,),
    )  # fmt: skip
    with store.write() as writer:
        writer.put_report(report)
    assert told(client)[0] == "fresh"
    engine.loaded = NEW
    followed(client)
    refused = ask(client)
    assert refused.status_code == 409
    assert "on-new" in refused.text


def test_what_changed_is_told_as_seen_from_each_hook_point() -> None:
    points = (HookPoint(layer=0), HookPoint(layer=9))
    assert changed(OLD.sums, NEW.sums, points) == {
        "layers.0.resid_post": "0 tensors up to it changed, 1 behind it",
        "layers.9.resid_post": "1 tensors up to it changed, 0 behind it",
    }
    assert changed(OLD.sums, {}, points[:1]) == {"layers.0.resid_post": "not known yet"}


@pytest.mark.parametrize("state", [State.SUSPECT, State.UNCHECKED])
def test_a_server_may_refuse_what_is_not_fresh(serve: Serve, store: Store, state: State) -> None:
    client = serve(whole="other")
    if state is State.SUSPECT:
        verdict = FeatureVerdict(latent=0, label="pirate speech", reads=state, steers=State.UNCHECKED, reason="")
        function = served(client).fingerprint
        report = DriftReport(
            id="r", artifact=SAE, model="demo", fingerprint=function, created="2026", state=state, reason="",
            metrics={}, features=(verdict,),
        )  # fmt: skip
        with store.write() as writer:
            writer.put_report(report)
    assert told(client)[2] == [f"feature_{state}"]
    put(client, served(client).model_copy(update={f"on_{state}": OnStale.REFUSE}))
    assert ask(client).status_code == 409
    assert ask(client, steer={"on_stale": "refuse"}).status_code == 409
    assert told(client, steer={"on_stale": "warn"})[2] == [f"feature_{state}"]
