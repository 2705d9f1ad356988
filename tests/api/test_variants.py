"""Stored variants: the routes that hold them, and requests that name one as their model."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from fastapi.testclient import TestClient

from api.engine import FakeEngine
from api.fake import Echoes
from featurehub.edits import Steering
from featurehub.features import Edit
from featurehub.store import Provenance, Store
from tests.api.conftest import CHECKED, OTHER_SAE
from tests.api.reports import report
from tests.labels import labeled

KEY = {"x-featurehub-key": "operators only"}
PIRATE = {"pirate speech": 0.5}
WHEN = {"feature": "banking", "op": ">", "value": 0.25, "so_far": False}
BANK = {
    "name": "pirate-bank",
    "features": {"pirate speech": 0.5, "formal tone": {"weight": -0.25, "when": WHEN}},
    "abort_when": [{**WHEN, "feature": "excited tone"}],
    "description": "arr",
}


DECIDED = {"seen_tokens": 9, "expected_tokens": 9}
GUARDED = {"requests": [0], "conditions": {"layers.2.resid_post": DECIDED}, "aborts": DECIDED}


@pytest.fixture(autouse=True)
def guarded(engine: FakeEngine) -> None:
    engine.default = report(7, **GUARDED)


@pytest.fixture
def operated(client: TestClient) -> TestClient:
    app: Any = client.app
    app.state.featurehub = replace(app.state.featurehub, operator_key=KEY["x-featurehub-key"], adapters=lambda: ("ft",))
    return client


def save(client: TestClient, status: int = 200, **changed: Any) -> dict[str, Any]:
    answer = client.post("/v1/variants", json=BANK | changed, headers=KEY)
    assert answer.status_code == status, answer.text
    return answer.json() if status == 200 else answer.json()["error"]


def ask(client: TestClient, model: str, status: int = 200, **more: Any) -> dict[str, Any]:
    body = {"model": model, "messages": [{"role": "user", "content": "tell me a story"}], **more}
    answer = client.post("/v1/chat/completions", json=body)
    assert answer.status_code == status, answer.text
    return answer.json() if status == 200 else answer.json()["error"]


def sent(echoed: Echoes) -> Steering:
    asked = echoed[-1].vllm_xargs
    assert asked is not None
    return Steering.read(asked["featurehub"])


def test_saved_read_listed_and_removed(operated: TestClient) -> None:
    first, again = save(operated), save(operated)
    assert again == first
    assert (first["version"], first["model"], first["owner"]) == (1, "demo", "")
    assert first["pinned"].keys() == {"pirate speech", "formal tone", "banking", "excited tone"}
    second = save(operated, features=PIRATE)
    # What was read can be sent again.
    third = save(operated, **{key: first[key] for key in ("name", "model", "features", "abort_when", "description")})
    assert third == {**first, "version": 3, "created": third["created"]}
    save(operated, name="other")
    get = operated.get
    assert get("/v1/variants/pirate-bank").json() == third
    assert get("/v1/variants/pirate-bank@2").json() == second
    page = get("/v1/variants", params={"limit": 1}).json()
    assert (page["data"][0]["name"], page["next"], page["has_more"]) == ("other", "other", True)
    page = get("/v1/variants", params={"after": page["next"]}).json()
    assert (page["data"], page["next"], page["has_more"]) == ([third], None, False)
    page = get("/v1/variants/pirate-bank/versions", params={"limit": 2}).json()
    assert (page["data"], page["next"]) == ([third, second], 2)
    assert get("/v1/variants/pirate-bank/versions", params={"before": 2}).json()["data"] == [first]
    for name in ("pirate-bank@4", "nothing", "nothing/versions"):
        assert get(f"/v1/variants/{name}").json()["error"]["code"] == "variant_not_found"
    assert operated.delete("/v1/variants/pirate-bank").status_code == 403
    assert operated.delete("/v1/variants/pirate-bank", headers=KEY).status_code == 204
    assert get("/v1/variants/pirate-bank").status_code == 404


def test_only_operators_save(operated: TestClient) -> None:
    assert operated.post("/v1/variants", json=BANK).status_code == 403
    assert operated.get("/v1/variants").json()["data"] == []


@pytest.mark.parametrize(
    ("changed", "status", "param"),
    [
        ({"name": "demo"}, 400, "model"), ({"name": "ft"}, 400, "model"), ({"name": "a b"}, 400, "name"),
        ({"model": "unknown"}, 400, "model"), ({"features": {"pirat": 0.5}}, 404, "features.pirat"),
        ({"features": {"twin": 0.5}}, 409, "features.twin"), ({"features": {"pirate speech": 2}}, 400, None),
        ({"features": {"pirate speech": True}}, 400, None), ({"features": {"pirate speech": {}}}, 400, None),
        ({"features": {"excited tone": 0.5}}, 400, "features.excited tone"), ({"unknown": 1}, 400, "unknown"),
        ({"features": {"pirate speech": 0.5, "pirate-speech": 0.5}}, 400, "features.pirate-speech"),
        ({"features": {}, "abort_when": []}, 400, "features"),
        ({"abort_when": [{**WHEN, "feature": "bankin"}]}, 404, "abort_when.0"),
        ({"abort_when": [WHEN] * 9}, 400, "abort_when"), ({"features": {str(n): 0.1 for n in range(33)}}, 400, None),
    ],
)  # fmt: skip
def test_what_cannot_be_used_is_not_saved(
    operated: TestClient, changed: dict[str, Any], status: int, param: str | None
) -> None:
    error = save(operated, status, **changed)
    assert param is None or error["param"] == param
    assert operated.get("/v1/variants").json()["data"] == []


@pytest.mark.parametrize("model", ["pirate-bank", "pirate-bank@1"])
def test_a_variant_is_the_request_with_its_edits(operated: TestClient, echoed: Echoes, model: str) -> None:
    """The naive twin is the request that sends what the variant holds."""
    save(operated)
    twin = ask(operated, "demo", features=BANK["features"], abort_when=BANK["abort_when"])
    expected = sent(echoed)
    assert twin["featurehub"].pop("variant") is None
    if "@" in model:
        save(operated, features={"formal tone": 1})
    answer = ask(operated, model)
    assert sent(echoed).digest() == expected.digest()
    assert sent(echoed).aborts == expected.aborts
    assert echoed[-1].model == "demo"
    assert answer["featurehub"].pop("variant") == {"name": "pirate-bank", "version": 1}
    assert answer == twin


def test_the_headers_and_the_last_chunk_say_which_version(operated: TestClient) -> None:
    save(operated)
    save(operated, features=PIRATE)
    body = {"model": "pirate-bank", "prompt": "hello", "stream": True}
    answer = operated.post("/v1/completions", json=body)
    assert answer.headers["x-featurehub-variant"] == "pirate-bank@2"
    last = json.loads(answer.text.strip().split("\n\n")[-2].removeprefix("data: "))
    assert last["featurehub"]["variant"] == {"name": "pirate-bank", "version": 2}


def test_an_edit_of_the_request_wins(operated: TestClient, echoed: Echoes, store: Store) -> None:
    with store.write() as writer:
        writer.put_group("formal", {"formal tone": 1.0, "formal letters": 0.5})
    save(operated)
    for key in ("Pirate speech", "pirate-speech", "sae:demo-l2/0"):
        applied = ask(operated, "pirate-bank", features={key: -0.5, "formal letters": 0.25})["featurehub"]["applied"]
        assert [(each["label"].partition(":")[0], each["weight"]) for each in applied] == [
            ("formal tone", -0.25), ("pirate speech", -0.5), ("formal letters", 0.25),
        ]  # fmt: skip
    applied = ask(operated, "pirate-bank", features={"formal": 0.5})["featurehub"]["applied"]
    assert [(each["weight"], each["group"]) for each in applied] == [(0.5, None), (0.5, "formal"), (0.25, "formal")]
    assert all(edit.when is None for edit in sent(echoed).edits)
    ask(operated, "pirate-bank", features={"pirate speech": 0}, abort_when=[WHEN])
    assert [edit.latent for edit in sent(echoed).edits] == [1]
    assert [abort.when.conditions[0].latent for abort in sent(echoed).aborts] == [2, 3]


def test_groups_of_a_variant_stay_what_they_were(operated: TestClient, store: Store) -> None:
    with store.write() as writer:
        writer.put_group("formal", {"formal tone": 1.0, "formal letters": 0.5})
    save(operated, features={"formal": {"mode": "pin", "weight": 0.5}})
    with store.write() as writer:
        writer.put_group("formal", {"pirate speech": 1.0})
    applied = ask(operated, "pirate-bank")["featurehub"]["applied"]
    assert [(each["label"], each["weight"], each["group"]) for each in applied] == [
        ("formal tone", 0.5, "formal"), ("formal letters", 0.25, "formal"),
    ]  # fmt: skip
    save(operated, features={"formal": 0.5})
    assert len(ask(operated, "pirate-bank")["featurehub"]["applied"]) == 1


def test_a_name_that_means_another_feature_by_now_changes_nothing(operated: TestClient, store: Store) -> None:
    saved = save(operated, features=PIRATE)
    by_hand = Provenance(author="test", method="by hand")
    with store.write() as writer:
        other = writer.reader.resolve("formal tone")
        writer.put_labels({saved["pinned"]["pirate speech"]["id"]: (labeled("sailor", score=0.9), by_hand)})
        writer.put_labels({other.id: (labeled("pirate speech", score=0.9), by_hand)})
    applied = ask(operated, "pirate-bank", features={"pirate speech": 0.25})["featurehub"]["applied"]
    assert [(each["label"], each["latent"], each["weight"]) for each in applied] == [
        ("sailor", 0, 0.5), ("pirate speech", 1, 0.25),
    ]  # fmt: skip


def test_a_stale_feature_is_named(serve: Callable[..., TestClient], store: Store) -> None:
    with store.write() as writer:
        writer.variants.save("pirate-bank", "demo", {"banking": Edit(weight=0.5), "pirate speech": Edit(weight=0.5)})
    client = serve(CHECKED)
    error = ask(client, "pirate-bank", 409)
    assert (error["code"], error["param"], error["report"]) == ("stale_feature", "model", "drift-1")
    assert "'pirate speech' of the variant 'pirate-bank' (version 1) no longer holds" in error["message"]
    notices = ask(client, "pirate-bank", steer={"on_stale": "warn"})["featurehub"]["warnings"]
    assert [(each["code"], each["message"].partition(" (drift")[0]) for each in notices] == [
        ("feature_suspect", "'banking' of the variant 'pirate-bank' (version 1) may no longer mean what it says on the "
         "loaded model"),
        ("feature_stale", "'pirate speech' of the variant 'pirate-bank' (version 1) no longer holds on the loaded "
         "model"),
    ]  # fmt: skip
    # The request's own edit of the stale feature is what counts then.
    assert ask(client, "pirate-bank", 409, features=PIRATE)["param"] == "features.pirate speech"


def test_a_feature_that_is_gone_is_named(operated: TestClient, store: Store) -> None:
    with store.write() as writer:
        writer.variants.save("far", "demo", {f"sae:{OTHER_SAE}/0": Edit(weight=0.5)})
        writer.variants.save("elsewhere", "another", {"pirate speech": Edit(weight=0.5)})
    save(operated)
    error = ask(operated, "far", 404)
    assert (error["code"], error["param"]) == ("feature_not_found", "model")
    assert f"'sae:{OTHER_SAE}/0' of the variant 'far@1' lies in an SAE that is not in use here" in error["message"]
    error = ask(operated, "elsewhere", 404)
    assert (error["code"], error["param"]) == ("variant_not_found", "model")
    assert "is for the model 'another'" in error["message"]
    with store.write() as writer:
        writer.put_features("a" * 64, [])
    error = ask(operated, "pirate-bank", 404)
    assert "of the variant 'pirate-bank' (version 1) is not registered any more" in error["message"]


def test_an_unknown_model_is_vllms_business(operated: TestClient) -> None:
    error = ask(operated, "unknown", 404)
    assert error == {
        "message": "The model `unknown` does not exist.",
        "type": "NotFoundError",
        "param": "model",
        "code": 404,
    }
    save(operated)
    assert ask(operated, "pirate-bank@2", 404)["code"] == "variant_not_found"


def test_an_adapter_of_the_same_name_is_refused(operated: TestClient, echoed: Echoes, store: Store) -> None:
    """An adapter that was loaded later would answer, unsteered, where the variant was meant."""
    with store.write() as writer:
        writer.variants.save("ft", "demo", {"pirate speech": Edit(weight=0.5)})
    assert ask(operated, "ft", 400)["param"] == "model"
    assert len(echoed) == 0


def test_variant_and_request_together_keep_the_limits(operated: TestClient) -> None:
    save(operated)
    aborts = [{**WHEN, "feature": "excited tone", "value": n / 10} for n in range(8)]
    assert ask(operated, "pirate-bank", 400, abort_when=aborts)["param"] == "abort_when"
    app: Any = operated.app
    limits = app.state.featurehub.limits.model_copy(update={"edits": 2})
    app.state.featurehub = replace(app.state.featurehub, limits=limits)
    assert ask(operated, "pirate-bank", 400, features={"formal letters": 0.1})["param"] == "features"
    assert ask(operated, "pirate-bank", features={"formal tone": 0.1})["featurehub"]["steered_tokens"] == 7


def test_an_abort_of_a_variant_is_reported_by_its_names(operated: TestClient, engine: FakeEngine) -> None:
    save(operated)
    engine.default = report(7, aborted={"index": 0, "event": "excited tone", "position": 4}, **GUARDED)
    answer = ask(operated, "pirate-bank")
    assert answer["featurehub"]["aborted"] == {"event": "excited tone", "feature": "excited tone", "position": 4}
    assert answer["choices"][0]["finish_reason"] == "content_filter"


def test_models_list_variants_below_their_model(operated: TestClient, store: Store) -> None:
    save(operated)
    with store.write() as writer:
        writer.variants.save("elsewhere", "another", {"pirate speech": Edit(weight=0.5)})
    [base, variant] = operated.get("/v1/models").json()["data"]
    assert base["id"] == "demo"
    assert variant == {**base, "id": "pirate-bank", "created": variant["created"], "root": "demo", "parent": "demo"}
    assert variant["created"] > 1_700_000_000


def test_features_in_other_bodies_are_still_refused(operated: TestClient) -> None:
    answer = operated.post("/v1/embeddings", json={"model": "pirate-bank", "input": "x", "features": PIRATE})
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "features")
