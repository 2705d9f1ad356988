"""``/v1/features/inspect``: what is asked of the engine, and what is made of its report."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient

from api.analysis.reading import spans
from api.engine import FakeEngine
from featurehub.activations import ActivationTotals
from tests.api.conftest import CHECKED, SAE
from tests.api.reports import reading

TOKENS = ((10, {0: 2.0, 6: 1.0}), (11, {2: 3.0}), (12, {2: 0.5, 9: 4.0}))
MESSAGES = [{"role": "user", "content": "my loan please"}]


def totals(**numbers: tuple[int, float, float]) -> dict[str, Any]:
    """By latent: count, sum and maximum."""
    latents = sorted(int(name[1:]) for name in numbers)
    counts, sums, maxima = zip(*(numbers[f"n{latent}"] for latent in latents), strict=True)
    ints = [np.array(each, "<i4").tobytes() for each in (latents, counts)]
    floats = [np.array(each, "<f4").tobytes() for each in (sums, maxima)]
    return ActivationTotals(
        sae=SAE, tokens=2, latents=ints[0], counts=ints[1], sums=floats[0], maxima=floats[1]
    ).model_dump()


@pytest.fixture
def engine() -> FakeEngine:
    report = reading(*TOKENS)
    report["activations"]["totals"] = [totals(n2=(2, 3.5, 3.0), n9=(1, 4.0, 4.0))]
    return FakeEngine(default=report)


def ask(client: TestClient, **body: Any) -> dict[str, Any]:
    answer = client.post("/v1/features/inspect", json={"messages": MESSAGES} | body)
    assert answer.status_code == 200, answer.text
    return answer.json()


def error(client: TestClient, **body: Any) -> tuple[int, str | None, str]:
    answer = client.post("/v1/features/inspect", json=body)
    found = answer.json()["error"]
    return answer.status_code, found["param"], found["message"]


def test_each_token_shows_its_features_and_the_whole_its_strongest(client: TestClient, engine: FakeEngine) -> None:
    found = ask(client)
    assert [(t["position"], t["content"]) for t in found["tokens"]] == [(0, False), (1, True), (2, True)]
    first = found["tokens"][0]["features"]
    assert [(f["label"], f["activation"]) for f in first] == [("pirate speech: matey, ship", 2.0), ("", 1.0)]
    assert found["content_tokens"] == 2
    unlabelled, banking = found["top"]
    assert (unlabelled["id"], unlabelled["mean"], unlabelled["frequency"]) == (f"sae:{SAE}/9", 2.0, 0.5)
    assert {key: banking[key] for key in ("label", "frequency", "mean", "max", "sum")} == {
        "label": "banking: loan, deposit", "frequency": 1.0, "mean": 1.75, "max": 3.0, "sum": 3.5,
    }  # fmt: skip
    [(ids, steering)] = engine.ran
    [read] = steering.reads
    assert (len(ids), read.sae, read.top_k, read.totals) == (3, SAE, 8, ((1, 3),))
    assert found["warnings"] == []
    assert [each["state"] for each in found["saes"]] == ["fresh"]


@pytest.mark.parametrize(("by", "first"), [("frequency", 2), ("mean", 9), ("max", 9), ("sum", 9)])
def test_the_strongest_are_those_with_most_of_what_is_asked_for(client: TestClient, by: str, first: int) -> None:
    [top] = ask(client, by=by, limit=1)["top"]
    assert (f"sae:{SAE}/9" == top["id"]) == (first == 9)


def test_named_features_and_a_text(client: TestClient, engine: FakeEngine) -> None:
    report = reading(*((token, {**own, 0: own.get(0, 0.0)}) for token, own in TOKENS))
    report["activations"]["totals"] = [totals(n2=(2, 3.5, 3.0))]
    engine.default = report
    answer = client.post("/v1/features/inspect", json={"text": "a b c", "features": ["pirate speech"], "top_k": 3})
    assert answer.status_code == 200
    [read] = engine.ran[0][1].reads
    assert (read.latents, read.top_k) == ((0,), 3)


def test_what_is_not_fresh_is_warned_of(serve: Callable[..., TestClient]) -> None:
    found = ask(serve(CHECKED))
    assert [each["code"] for each in found["warnings"]] == ["sae_suspect"]


def test_a_stale_feature_is_read_where_one_asks_for_that(serve: Callable[..., TestClient]) -> None:
    client = serve(CHECKED)
    body = {"text": "a b c", "features": ["pirate speech"]}
    assert client.post("/v1/features/inspect", json=body).status_code == 409
    answer = client.post("/v1/features/inspect", json={**body, "on_stale": "warn"})
    assert answer.status_code == 200
    assert [each["code"] for each in answer.json()["warnings"]] == ["feature_stale", "sae_suspect"]
    assert client.post("/v1/features/inspect", json={**body, "on_stale": "maybe"}).status_code == 400


@pytest.mark.parametrize(
    ("body", "status", "param"),
    [
        ({}, 400, None),
        ({"messages": MESSAGES, "text": "a"}, 400, None),
        ({"messages": []}, 400, "messages"),
        ({"text": "a", "top_k": 65}, 400, "top_k"),
        ({"text": "a", "by": "most"}, 400, "by"),
        ({"text": "a", "unknown": 1}, 400, "unknown"),
        ({"text": "a", "sae": "missing"}, 404, "sae"),
        ({"text": "a", "features": ["no such"]}, 404, "features"),
    ],
)
def test_bad_bodies(client: TestClient, body: dict[str, Any], status: int, param: str | None) -> None:
    assert error(client, **body)[:2] == (status, param)


@pytest.mark.parametrize("lost", [{"totals": []}, {"totals": [totals(n2=(2, 3.5, 3.0)) | {"tokens": 1}]}])
def test_totals_that_are_not_of_every_token_are_withheld(
    client: TestClient, engine: FakeEngine, lost: dict[str, Any]
) -> None:
    report = reading(*TOKENS)
    report["activations"] |= lost
    engine.default = report
    status, _, message = error(client, messages=MESSAGES)
    assert (status, "the totals are not over every token" in message) == (500, True)


def test_a_dead_engine_is_a_503_and_a_registry_alone_says_so(client: TestClient, engine: FakeEngine) -> None:
    engine.running = False
    assert error(client, text="a b")[0] == 503
    client.app.state.featurehub = type(client.app.state.featurehub)(client.app.state.featurehub.store)  # type: ignore[attr-defined]
    status, _, message = error(client, text="a b")
    assert status == 501
    assert "hosts the registry alone" in message


def test_stretches_of_positions() -> None:
    assert spans([False, True, True, False, True]) == ((1, 3), (4, 5))
    assert spans([]) == spans([False, False]) == ()
    assert spans([True]) == ((0, 1),)


@pytest.mark.parametrize("route", ["inspect", "activations", "contrast", "attribute", "autosteer"])
def test_another_model_is_not_read_in_its_place(client: TestClient, route: str) -> None:
    chat = [{"role": "user", "content": "a b c d"}]
    chats = {"dataset_1": [chat], "dataset_2": [chat]} if route == "contrast" else {"messages": chat}
    body = {"instruction": "be brief"} if route == "autosteer" else chats
    answer = client.post(f"/v1/features/{route}", json=body | {"model": "pirate-bank"})
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "model")
