"""One server that steers with two SAEs: what a name means, and whose label a latent gets."""

from collections.abc import Iterator
from typing import Any

import pytest
from fastapi.testclient import TestClient

from api.engine import FakeEngine
from api.fake import create_fake_app
from api.model import ServedModel
from featurehub.edits import Steering
from featurehub.features import State
from featurehub.store import Store
from featurehub.verdicts import DriftReport, FeatureVerdict
from tests.api.conftest import CHECKED, LABELS, OTHER_SAE, SAE, fill
from tests.api.models import HOME, model
from tests.api.reports import reading, report

CHAT = {"model": "demo", "messages": [{"role": "user", "content": "tell me a story"}]}
OTHERS = {0: "gardening", 2: "banking: money", 7: "seafaring: ship"}


@pytest.fixture
def two(store: Store) -> Store:
    with store.write() as writer:
        fill(writer, OTHER_SAE, "other", OTHERS)
        verdict = FeatureVerdict(latent=7, label="seafaring: ship", reads=State.FRESH, steers=State.FRESH, reason="")
        writer.put_report(
            DriftReport(
                id="drift-2", artifact=OTHER_SAE, model="sibling", fingerprint=model(CHECKED).function,
                created="2026-01-03",
                state=State.FRESH, reason="", metrics={}, features=(verdict,),
            )
        )  # fmt: skip
    return store


@pytest.fixture(params=[HOME])
def client(request: pytest.FixtureRequest, two: Store, engine: FakeEngine) -> Iterator[TestClient]:
    served = ServedModel(store="", saes=(SAE, OTHER_SAE), model=model(request.param), names=("demo",))
    with TestClient(create_fake_app(two, served, engine), raise_server_exceptions=False) as client:
        yield client


def ask(client: TestClient, status: int = 200, **keys: Any) -> dict[str, Any]:
    answer = client.post("/v1/chat/completions", json=CHAT | keys)
    assert answer.status_code == status, answer.text
    return answer.json()


def steering(client: TestClient) -> Steering:
    [request] = client.app.state.echoed  # type: ignore[attr-defined]
    return Steering.model_validate_json(request.vllm_xargs["featurehub"])


def test_latent_7_of_each_gets_its_own_label(client: TestClient, engine: FakeEngine) -> None:
    read = [reading((11, {7: 1.5, 9: 0.5}), sae=sae)["activations"]["blocks"][0] for sae in (SAE, OTHER_SAE)]
    engine.default = report(1, activations={"blocks": read})
    first, second = ask(client, return_activations={"top_k": 2})["featurehub"]["activations"]
    assert [each["label"] for each in first["features"]] == [LABELS[7], ""]
    assert [each["label"] for each in second["features"]] == [OTHERS[7], ""]
    assert [each["features"][1]["id"] for each in (first, second)] == [f"sae:{SAE}/9", f"sae:{OTHER_SAE}/9"]
    assert [(each.sae, each.top_k) for each in steering(client).reads] == [(SAE, 2), (OTHER_SAE, 2)]


def test_names_are_found_in_both_and_edits_go_to_their_own(client: TestClient, engine: FakeEngine) -> None:
    features = {
        "pirate speech": 0.5,
        "seafaring": {"mode": "pin", "weight": 0.5, "when": {"feature": "gardening", "value": 0.1}},
    }
    engine.default = report(7, conditions={"layers.3.resid_post": {"seen_tokens": 7, "expected_tokens": 7}})
    applied = ask(client, features=features)["featurehub"]["applied"]
    assert [(each["sae"], each["latent"]) for each in applied] == [(SAE, 0), (OTHER_SAE, 7)]
    one, two = steering(client).edits
    assert ((one.sae, one.latent), (two.sae, two.latent)) == ((SAE, 0), (OTHER_SAE, 7))
    assert two.when is not None
    assert [(each.sae, each.latent) for each in two.when.conditions] == [(OTHER_SAE, 0)]


def test_a_name_that_both_know_is_ambiguous_and_an_address_is_not(client: TestClient) -> None:
    error = ask(client, status=409, features={"banking": 0.5})["error"]
    assert len(error["candidates"]) == 2
    assert all(sae[:12] in error["message"] for sae in (SAE, OTHER_SAE))
    for name, sae in (("demo-l2", SAE), ("other", OTHER_SAE)):
        client.app.state.echoed.clear()  # type: ignore[attr-defined]
        [applied] = ask(client, features={f"sae:{name}/2": 0.5})["featurehub"]["applied"]
        assert (applied["sae"], applied["latent"]) == (sae, 2)


def test_search_finds_features_of_both(client: TestClient) -> None:
    found = client.get("/v1/features", params={"q": "ship"}).json()["data"]
    assert {(each["artifact"], each["latent"]) for each in found} == {(SAE, 0), (OTHER_SAE, 7)}
    assert [each["loaded"] for each in client.get("/v1/saes").json()["data"]] == [True, True]


def test_headers_name_both(client: TestClient) -> None:
    answer = client.post("/v1/chat/completions", json=CHAT | {"features": {"pirate speech": 0.5}})
    assert answer.headers["x-featurehub-sae"] == f"{SAE},{OTHER_SAE}"


@pytest.mark.parametrize("client", [CHECKED], indirect=True)
def test_each_has_the_states_of_its_own_report(client: TestClient) -> None:
    """Latent 7 of the first is stale by its report, of the second fresh by its own."""
    [applied] = ask(client, features={"seafaring": 0.5})["featurehub"]["applied"]
    assert applied["state"] == "fresh"
    assert ask(client, status=409, features={"formal letters": 0.5})["error"]["report"] == "drift-1"
    assert client.get("/healthz").json()["state"] == "suspect"
