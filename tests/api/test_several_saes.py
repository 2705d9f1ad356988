"""One server that steers with two SAEs: what a name means, and whose label a latent gets."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from msgspec.structs import asdict

from api.engine import FakeEngine
from api.fake import create_fake_app
from api.model import ServedModel
from featurehub.activations import ActivationBlock
from featurehub.edits import Steering
from featurehub.features import State
from featurehub.store import Store
from featurehub.verdicts import DriftReport, FeatureVerdict
from tests.api.conftest import CHECKED, LABELS, OTHER_SAE, SAE, fill
from tests.api.models import HOME, model
from tests.api.reports import HOOK, OTHER_HOOK, counts, reading, report

CHAT = {"model": "demo", "messages": [{"role": "user", "content": "tell me a story"}]}
OTHERS = {0: "gardening", 2: "banking: money", 7: "seafaring: ship"}


@pytest.fixture
def two(store: Store) -> Store:
    with store.write() as writer:
        fill(writer, OTHER_SAE, "other", OTHERS, layer=3)
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
    return Steering.read(client.app.state.echoed[-1].vllm_xargs["featurehub"])  # type: ignore[attr-defined]


def both(first: object = None, other: object = None, **more: object) -> dict[str, Any]:
    """What a worker says of a request with edits at both hook points."""
    return {"hooks": {HOOK: first or counts(7), OTHER_HOOK: other or counts(7)}, "requests": [0], **more}


def read_of(*saes: str, latent: int = 0) -> dict[str, Any]:
    """What it says of a request that reads a token of these SAEs, in which one latent is active."""
    blocks = [reading((11, {latent: 1.5}), sae=sae)["activations"]["blocks"][0] for sae in saes]
    return {"requests": [0], "activations": {"blocks": blocks}}


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
    engine.default = both(conditions={OTHER_HOOK: {"seen_tokens": 7, "expected_tokens": 7}})
    applied = ask(client, features=features)["featurehub"]["applied"]
    assert [(each["sae"], each["latent"]) for each in applied] == [(SAE, 0), (OTHER_SAE, 7)]
    one, two = steering(client).edits
    assert ((one.sae, one.latent), (two.sae, two.latent)) == ((SAE, 0), (OTHER_SAE, 7))
    assert two.when is not None
    assert [(each.sae, each.latent) for each in two.when.conditions] == [(OTHER_SAE, 0)]


def test_a_name_that_both_know_is_ambiguous_and_an_address_is_not(client: TestClient, engine: FakeEngine) -> None:
    error = ask(client, status=409, features={"banking": 0.5})["error"]
    assert len(error["candidates"]) == 2
    assert all(way in error["message"] for way in (*error["candidates"], "sae:demo-l2/2", "sae:other/2"))
    for name, sae in (("demo-l2", SAE), ("other", OTHER_SAE)):
        engine.default = both()
        [applied] = ask(client, features={f"sae:{name}/2": 0.5})["featurehub"]["applied"]
        assert (applied["sae"], applied["latent"]) == (sae, 2)


def test_search_finds_features_of_both(client: TestClient) -> None:
    found = client.get("/v1/features", params={"q": "ship"}).json()["data"]
    assert {(each["artifact"], each["latent"]) for each in found} == {(SAE, 0), (OTHER_SAE, 7)}


def test_the_list_of_saes_begins_with_those_that_are_served_in_their_order(two: Store, engine: FakeEngine) -> None:
    for saes in ((SAE, OTHER_SAE), (OTHER_SAE, SAE), (OTHER_SAE,)):
        served = ServedModel(store="", saes=saes, model=model(), names=("demo",))
        with TestClient(create_fake_app(two, served, engine)) as client:
            data = client.get("/v1/saes").json()["data"]
        assert tuple(each["id"] for each in data if each["loaded"]) == saes
        assert tuple(each["id"] for each in data)[: len(saes)] == saes


def test_headers_name_both(client: TestClient) -> None:
    answer = client.post("/v1/chat/completions", json=CHAT | {"features": {"pirate speech": 0.5}})
    assert answer.headers["x-featurehub-sae"] == f"{SAE},{OTHER_SAE}"


@pytest.mark.parametrize("client", [CHECKED], indirect=True)
def test_each_has_the_states_of_its_own_report(client: TestClient, engine: FakeEngine) -> None:
    """Latent 7 of the first is stale by its report, of the second fresh by its own."""
    engine.default = both()
    [applied] = ask(client, features={"seafaring": 0.5})["featurehub"]["applied"]
    assert applied["state"] == "fresh"
    assert ask(client, status=409, features={"formal letters": 0.5})["error"]["report"] == "drift-1"
    health = client.get("/healthz").json()
    assert [(each["name"], each["hook"], each["state"]) for each in health["saes"]] == [
        ("demo-l2", HOOK, "suspect"),
        ("other", OTHER_HOOK, "fresh"),
    ]
    assert health["state"] == "suspect"


@pytest.mark.parametrize("client", [CHECKED], indirect=True)
def test_a_warning_about_an_sae_that_reads_names_it(client: TestClient, engine: FakeEngine) -> None:
    def warned(**reads: object) -> list[tuple[str, str | None]]:
        warnings = ask(client, return_activations={"top_k": 2, **reads})["featurehub"]["warnings"]
        return [(each["code"], each["sae"]) for each in warnings]

    engine.default = read_of(SAE, OTHER_SAE)
    assert warned() == [("sae_suspect", SAE)]
    engine.default = read_of(OTHER_SAE)
    assert warned(sae="other") == []


def test_each_edit_and_each_sae_has_the_counts_of_its_own_hook_point(client: TestClient, engine: FakeEngine) -> None:
    engine.default = both(
        counts(7, clipped=3, in_force={0: 5}), counts(2, dose=0.5),
        conditions={HOOK: {"seen_tokens": 7, "expected_tokens": 7}},
    )  # fmt: skip
    features = {"pirate speech": {"weight": 0.5, "when": {"feature": "formal tone", "value": 0.1}}, "gardening": 0.5}
    ours = ask(client, features=features)["featurehub"]
    assert [(each["dose"], each["clipped"], each["tokens"]) for each in ours["applied"]] == [
        (0.25, True, 5),
        (0.5, False, 2),
    ]
    assert ours["saes"] == [
        {"id": SAE, "name": "demo-l2", "hook": HOOK, "state": "fresh"}
        | {"steered_tokens": 7, "dose": 0.25, "clipped_tokens": 3},
        {"id": OTHER_SAE, "name": "other", "hook": OTHER_HOOK, "state": "fresh"}
        | {"steered_tokens": 2, "dose": 0.5, "clipped_tokens": 0},
    ]
    assert ours["steered_tokens"] == 7


@pytest.mark.parametrize("lost", [{"hooks": {HOOK: counts(7)}}, {"hooks": {HOOK: counts(7), OTHER_HOOK: counts(0)}}])
def test_an_answer_that_was_not_steered_at_one_hook_point_is_withheld(
    client: TestClient, engine: FakeEngine, lost: dict[str, Any]
) -> None:
    engine.default = {"requests": [0], **lost}
    error = ask(client, status=500, features={"pirate speech": 0.5, "gardening": 0.5})["error"]
    assert (error["code"], OTHER_HOOK in error["message"]) == ("steering_lost", True)
    assert ask(client, features={"pirate speech": 0.5})["featurehub"]["saes"][0]["steered_tokens"] == 7


def test_so_is_one_whose_conditions_were_decided_at_another(client: TestClient, engine: FakeEngine) -> None:
    engine.default = both(conditions={HOOK: {"seen_tokens": 7, "expected_tokens": 7}})
    waiting = {"gardening": {"weight": 0.5, "when": {"feature": "seafaring", "value": 0.1}}}
    error = ask(client, status=500, features=waiting)["error"]
    assert (error["code"], OTHER_HOOK in error["message"]) == ("steering_lost", True)


def test_edits_of_generated_tokens_may_run_over_none_but_are_reported(client: TestClient, engine: FakeEngine) -> None:
    asked = {"features": {"pirate speech": 0.5, "gardening": 0.5}, "steer": {"positions": "generated"}}
    engine.default = both(counts(0), counts(0))
    assert ask(client, **asked)["featurehub"]["steered_tokens"] == 0
    engine.default = {"requests": [0], "hooks": {HOOK: counts(0)}}
    assert ask(client, status=500, **asked)["error"]["code"] == "steering_lost"


def test_activations_of_one_sae(client: TestClient, engine: FakeEngine) -> None:
    engine.default = read_of(OTHER_SAE)
    ours = ask(client, return_activations={"top_k": 2, "sae": "other"})["featurehub"]
    assert [asdict(each) for each in steering(client).reads] == [
        {"sae": OTHER_SAE, "top_k": 2, "latents": (), "totals": ()}
    ]
    assert [each["sae"] for each in ours["activations"]] == [OTHER_SAE]
    assert [each["id"] for each in ours["saes"]] == [OTHER_SAE]


def test_activations_of_features_of_both(client: TestClient, engine: FakeEngine) -> None:
    """Active or not, and once where they are among the strongest."""
    names = ["pirate speech", "sae:other/2", "formal tone"]
    blocks = [
        ActivationBlock.pack(SAE, np.array([0]), np.array([11]), np.array([[0, 1]]), np.array([[2.5, 0.0]])),
        ActivationBlock.pack(OTHER_SAE, np.array([0]), np.array([11]), np.array([[2]]), np.array([[0.5]])),
    ]
    engine.default = {"requests": [0], "activations": {"blocks": [each.model_dump() for each in blocks]}}
    first, second = ask(client, return_activations=names)["featurehub"]["activations"]
    assert [(each.sae, each.top_k, each.latents) for each in steering(client).reads] == [
        (SAE, 0, (0, 1)),
        (OTHER_SAE, 0, (2,)),
    ]
    assert [(each["label"], each["activation"]) for each in first["features"]] == [(LABELS[0], 2.5), (LABELS[1], 0.0)]
    assert [(each["label"], each["activation"]) for each in second["features"]] == [(OTHERS[2], 0.5)]


def test_activations_without_a_feature_that_was_named_are_withheld(client: TestClient, engine: FakeEngine) -> None:
    engine.default = read_of(SAE)
    assert ask(client, return_activations=["pirate speech"])["featurehub"]["activations"][0]["features"]
    assert ask(client, status=500, return_activations=["formal tone"])["error"]["code"] == "steering_lost"


@pytest.mark.parametrize("client", [CHECKED], indirect=True)
def test_a_stale_feature_is_not_read_either(client: TestClient, engine: FakeEngine) -> None:
    error = ask(client, status=409, return_activations=["formal letters"])["error"]
    assert (error["code"], error["param"]) == ("stale_feature", "return_activations")
    engine.default = read_of(OTHER_SAE, latent=7)
    assert ask(client, return_activations=["seafaring"])["featurehub"]["warnings"] == []
