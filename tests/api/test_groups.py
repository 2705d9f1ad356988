"""Requests that name a group, and the routes that hold groups."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from fastapi.testclient import TestClient

from api.model import ServedModel
from api.plan import Plan, make_plan
from api.request import SteeringRequest
from featurehub.edits import LatentEdit
from featurehub.errors import InvalidEdit, InvalidInput
from featurehub.features import Mode
from featurehub.groups import FeatureGroup
from featurehub.settings import Limits
from featurehub.store import Store
from tests.api.conftest import CHECKED, OTHER_SAE, SAE
from tests.api.models import HOME, model

FORMAL = ("formal tone", "formal letters")
KEY = "operators only"


@pytest.fixture(autouse=True)
def group(store: Store) -> FeatureGroup:
    """A concept that was split over two latents, of which the second counts half."""
    with store.write() as writer:
        return writer.put_group("formal", dict(zip(FORMAL, (1.0, 0.5), strict=True)), description="dear sir or madam")


def plan(store: Store, limits: Limits = Limits(), saes: tuple[str, ...] = (SAE,), **keys: Any) -> Plan:  # noqa: B008 (frozen)
    asked = SteeringRequest.take(keys, limits)
    with store.read() as reader:
        return make_plan(asked, reader, ServedModel(store="", saes=saes, model=model(HOME)), limits)


def refused(client: TestClient, **keys: Any) -> dict[str, Any]:
    body = {"model": "demo", "messages": [{"role": "user", "content": "hello"}], **keys}
    answer = client.post("/v1/chat/completions", json=body)
    return {"status": answer.status_code, **answer.json()["error"]}


# Strengths are 5 and 2, largest activations 3.
@pytest.mark.parametrize(
    ("edit", "half", "values"),
    [
        (0.5, 0.25, (2.5, 0.5)),
        ({"mode": "pin", "weight": 0.5}, {"mode": "pin", "weight": 0.25}, (1.5, 0.75)),
        ({"mode": "mul", "weight": -0.5}, {"mode": "mul", "weight": -0.25}, (0.5, 0.75)),
        ({"mode": "ablate"}, {"mode": "ablate"}, (0.0, 0.0)),
    ],
)
def test_a_group_is_set_like_one_feature(store: Store, edit: Any, half: Any, values: tuple[float, float]) -> None:
    """The naive twin is the request that names the members, each with its own weight."""
    made = plan(store, features={"Formal": edit, "banking": 0.5})
    twin = plan(store, features={FORMAL[0]: edit, FORMAL[1]: half, "banking": 0.5})
    assert made.steering.edits == twin.steering.edits
    assert [(each.latent, each.value) for each in made.steering.edits] == [(1, values[0]), (7, values[1]), (2, 1.5)]
    assert [each.group for each in made.applied] == ["formal", "formal", None]
    assert [each.model_copy(update={"group": None}) for each in made.applied] == list(twin.applied)


def test_conditions_and_positions_hold_for_every_member(store: Store, group: FeatureGroup) -> None:
    edit = {"weight": 0.5, "when": {"feature": "banking", "value": 0.5}}
    made = plan(store, features={group.id: edit}, steer={"positions": "generated"})
    half = {**edit, "weight": 0.25}
    twin = plan(store, features=dict(zip(FORMAL, (edit, half), strict=True)), steer={"positions": "generated"})
    assert made.steering.digest() == twin.steering.digest()
    assert all(each.when is not None for each in made.steering.edits)


def test_activations_of_a_group_are_those_of_its_members(store: Store) -> None:
    [read] = plan(store, return_activations=["formal", "banking", "formal tone"]).steering.reads
    assert (read.top_k, read.latents) == (0, (1, 2, 7))


@pytest.mark.parametrize("op", [">", "<"])
def test_a_condition_waits_for_one_feature(store: Store, group: FeatureGroup, op: str) -> None:
    """The error says how to write what may be meant."""
    condition = {"feature": "formal", "op": op, "value": 0.2}
    with pytest.raises(InvalidInput) as caught:
        plan(store, features={"banking": {"weight": 0.5, "when": condition}})
    assert caught.value.param == "features.banking.when"
    instead = json.loads(caught.value.message.partition("write ")[2].partition(";")[0])
    assert [(each["feature"], each["op"]) for each in instead["any"]] == [(each.id, op) for each in group.members]
    [edit] = plan(store, features={"banking": {"weight": 0.5, "when": instead}}).steering.edits
    assert edit.when is not None
    assert ([each.latent for each in edit.when.conditions], edit.when.any) == ([1, 7], True)
    with pytest.raises(InvalidInput) as caught:
        plan(store, abort_when=[condition])
    assert caught.value.param == "abort_when.0"


@pytest.mark.parametrize("beside", ["formal letters", "sae:demo-l2/7", "formal-letters"])
def test_a_feature_comes_once(store: Store, beside: str) -> None:
    with pytest.raises(InvalidEdit, match="'formal letters' of the group 'formal'") as caught:
        plan(store, features={"formal": 0.5, beside: 0.5})
    assert caught.value.param == f"features.{beside}"


def test_nor_does_it_come_in_two_groups(store: Store, group: FeatureGroup) -> None:
    with store.write() as writer:
        writer.put_group("letters", {"formal letters": 1.0})
    for second in ("letters", group.members[1].id):
        with pytest.raises(InvalidEdit, match="once") as caught:
            plan(store, features={"formal": 0.5, second: 0.5})
        assert caught.value.param == f"features.{second}"
    [one, other] = plan(store, features={"formal": 0.5}, return_activations=["letters"]).steering.edits
    assert (one.latent, other.latent) == (1, 7)


def test_limits_hold_for_what_comes_out(store: Store) -> None:
    with store.write() as writer:
        writer.put_group("many", dict.fromkeys(("pirate speech", "banking", "excited tone"), 1.0))
    limits = Limits(edits=4)
    with pytest.raises(InvalidEdit, match="2 names stand for 5 edits") as caught:
        plan(store, limits, features={"many": {"mode": "pin", "weight": 0.1}, "formal": 0.1})
    assert caught.value.param == "features"
    assert len(plan(store, limits, features={"many": {"mode": "ablate"}, "formal tone": 0.1}).steering.edits) == 4
    with pytest.raises(InvalidEdit):
        plan(store, features={"formal": 1.2})


def test_weight_zero_is_reported_and_not_sent(store: Store) -> None:
    made = plan(store, features={"formal": 0})
    assert ([each.coefficient for each in made.applied], made.reaches_engine) == ([0.0, 0.0], False)


def test_members_may_lie_in_several_saes(store: Store) -> None:
    with store.write() as writer:
        writer.put_group("all", {"formal tone": 1.0, f"sae:{OTHER_SAE}/0": 1.0})
    made = plan(store, saes=(SAE, OTHER_SAE), features={"all": {"mode": "pin", "weight": 0.5}})
    expected = [LatentEdit(sae=sae, latent=n, mode=Mode.PIN, value=1.5) for sae, n in ((SAE, 1), (OTHER_SAE, 0))]
    assert list(made.steering.edits) == expected
    assert [each.id for each in made.saes] == [SAE, OTHER_SAE]


def test_the_answer_says_through_which_group(client: TestClient) -> None:
    body = {"model": "demo", "messages": [{"role": "user", "content": "hello"}], "features": {"formal": 0.5}}
    answer = client.post("/v1/chat/completions", json=body)
    applied = answer.json()["featurehub"]["applied"]
    assert [(each["label"], each["group"], each["weight"]) for each in applied] == [
        ("formal tone", "formal", 0.5), ("formal letters", "formal", 0.25),
    ]  # fmt: skip
    assert answer.headers["x-featurehub-applied"] == ",".join(each["id"] for each in applied)


def test_a_stale_member_stops_the_group(serve: Callable[..., TestClient]) -> None:
    error = refused(serve(CHECKED), features={"formal": 0.5})
    assert (error["status"], error["code"], error["param"]) == (409, "stale_feature", "features.formal")
    assert "'formal letters' of the group 'formal' no longer holds" in error["message"]
    body = {"model": "demo", "messages": [{"role": "user", "content": "hello"}], "features": {"formal": 0.5}}
    warned = serve(CHECKED, "warn").post("/v1/chat/completions", json=body).json()["featurehub"]
    [stale] = [each for each in warned["warnings"] if each["code"] == "feature_stale"]
    assert "of the group 'formal'" in stale["message"]
    assert [each["state"] for each in warned["applied"]] == ["fresh", "stale"]


def test_a_member_that_cannot_be_steered_is_named(client: TestClient, store: Store) -> None:
    with store.write() as writer:
        writer.put_group("tones", {"formal tone": 1.0, "excited tone": 1.0})
    error = refused(client, features={"tones": 0.5})
    assert (error["status"], error["code"], error["param"]) == (400, "invalid_edit", "features.tones")
    assert "'excited tone' of the group 'tones' was never calibrated" in error["message"]


def test_a_member_that_is_not_here_is_never_left_out(client: TestClient, store: Store) -> None:
    with store.write() as writer:
        writer.put_group("far", {"formal tone": 1.0, f"sae:{OTHER_SAE}/0": 1.0})
    error = refused(client, features={"far": 0.5})
    assert (error["status"], error["code"], error["param"]) == (404, "feature_not_found", "features.far")
    assert "sae:other/0 ('gardening') lies in an SAE that is not in use here" in error["message"]
    with store.write() as writer:
        writer.put_features(SAE, [])
    assert "('formal tone') is not registered any more" in refused(client, features={"formal": 0.5})["message"]


def test_errors_about_names_know_groups(client: TestClient, store: Store, group: FeatureGroup) -> None:
    assert "formal" in refused(client, features={"formall": 0.5})["suggestions"]
    with store.write() as writer:
        twin = writer.put_group("formal tone", {"banking": 1.0})
    error = refused(client, features={"formal tone": 0.5})
    assert (error["status"], error["code"]) == (409, "ambiguous_feature")
    assert set(error["candidates"]) == {twin.id, group.members[0].id}
    one = client.get("/v1/features/formal")
    assert (one.status_code, one.json()["error"]["code"]) == (404, "feature_not_found")
    assert one.json()["error"]["suggestions"] == list(FORMAL)


def test_search_shows_groups_on_its_first_page(client: TestClient, group: FeatureGroup) -> None:
    def found(**query: Any) -> list[str]:
        return [each["id"] for each in client.get("/v1/features", params=query).json()["groups"]]

    assert found(q="formal") == found(q="madam") == [group.id]
    assert found(q="banking") == found() == []
    page = client.get("/v1/features", params={"q": "formal", "limit": 1}).json()
    assert found(q="formal", limit=1, after=page["next"]) == []


def operated(client: TestClient) -> dict[str, str]:
    """The headers of its operators' requests, from now on."""
    app: Any = client.app
    app.state.featurehub = replace(app.state.featurehub, operator_key=KEY)
    return {"x-featurehub-key": KEY}


def test_operators_save_and_remove_groups(client: TestClient, group: FeatureGroup) -> None:
    new = {"name": "money/talk", "members": {"banking": 1.0, "sae:demo-l2/0": -0.5}, "description": "x"}
    assert client.post("/v1/groups", json=new).status_code == 403
    assert client.delete(f"/v1/groups/{group.id}").status_code == 403
    key = operated(client)
    assert client.post("/v1/groups", json=new, headers={"x-featurehub-key": "guessed"}).status_code == 403
    assert [each["id"] for each in client.get("/v1/groups").json()["data"]] == [group.id]
    saved = client.post("/v1/groups", json=new, headers=key).json()
    assert [each["label"] for each in saved["members"]] == ["banking: loan, deposit", "pirate speech: matey, ship"]
    assert client.get("/v1/groups/money/talk").json() == client.get(f"/v1/groups/{saved['id']}").json() == saved
    assert [each["name"] for each in client.get("/v1/groups").json()["data"]] == ["formal", "money/talk"]
    assert client.delete("/v1/groups/money/talk", headers=key).status_code == 204
    assert client.get("/v1/groups/money/talk").status_code == 404
    assert client.delete("/v1/groups/money/talk", headers=key).status_code == 404


def test_what_no_request_could_use_is_not_saved(client: TestClient) -> None:
    key = operated(client)
    changes: list[tuple[dict[str, Any], int]] = [
        ({"members": {}}, 400), ({"members": {"banking": 0}}, 400), ({"members": {"banking": 2}}, 400),
        ({"members": {"bankin": 1}}, 404), ({"members": {"twin": 1}}, 409), ({"name": "sae:x"}, 400),
        ({"members": {"banking": 1, "sae:demo-l2/2": 1}}, 400), ({"members": {"formal": 1}}, 404), ({"color": 1}, 400),
    ]  # fmt: skip
    for change, status in changes:
        answer = client.post("/v1/groups", json={"name": "x", "members": {"banking": 1.0}, **change}, headers=key)
        assert answer.status_code == status, (change, answer.text)
        assert answer.json()["error"]["message"]
    assert len(client.get("/v1/groups").json()["data"]) == 1
