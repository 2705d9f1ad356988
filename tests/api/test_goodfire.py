"""Goodfire's wire format: what its shapes become, and what comes back. Its real client is in tests/end_to_end."""

import asyncio
import json
from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest
from fastapi.testclient import TestClient
from hypothesis import given
from hypothesis import strategies as st

from api.engine import FakeEngine
from api.fake import Echoes
from api.goodfire.chat import chunks
from api.goodfire.controller import Controller, native
from api.goodfire.numbers import LatentNumbers, address_of, uuid_of
from featurehub.errors import FeatureNotFound, InvalidInput
from tests.api.conftest import OTHER_SAE, SAE
from tests.api.reports import HOOK, reading, report

API = "/api/inference/v1"
CHAT: dict[str, Any] = {"model": "demo", "messages": [{"role": "user", "content": "once upon a time"}]}
STRANGE = "c6bb8639dbdb4f04ac427d23cdac6fe9"
"""A UUID of somebody else's."""
PIRATE, FORMAL, BANKING = 0, 1, 2
DECIDED = {"seen_tokens": 9, "expected_tokens": 9}
ABORTED = report(7, aborted={"event": "stop", "index": 0, "position": 3}, conditions={HOOK: DECIDED}, aborts=DECIDED)


def named(*latents: int, sae: str = SAE) -> dict[str, Any]:
    """A group of features as the client sends it."""
    rows = [{"uuid": uuid_of(sae, each).hex, "label": "", "index_in_sae": each} for each in latents]
    return {"features": [row | {"max_activation_strength": 1} for row in rows]}


def intervention(latent: int, value: float, mode: str = "nudge") -> dict[str, Any]:
    return {"mode": mode, "features": named(latent), "value": value}


def compared(*latents: int, value: Any = 0.5, operator: str = ">") -> dict[str, Any]:
    return {"left_hand": named(*latents), "right_hand": value, "operator": operator}


def scope(*conditionals: dict[str, Any], operator: str = "AND", event: str | None = None, **inner: Any) -> Any:
    return {
        "conditionals": {"conditionals": list(conditionals), "operator": operator},
        "controller": controller(**inner), "is_active": False, "event_name": event,
    }  # fmt: skip


def controller(**given: Any) -> dict[str, Any]:
    empty = {"nonzero_strength_threshold": None, "min_nudge_entropy": None, "max_nudge_entropy": None}
    return {"interventions": [], "scopes": [], "name": "controller__1", **empty} | given


def ours(**given: Any) -> dict[str, Any]:
    return native(Controller.model_validate(controller(**given)))


def address(latent: int) -> str:
    return address_of(uuid_of(SAE, latent))


def condition(latent: int, op: str = ">", value: float = 0.5) -> dict[str, Any]:
    return {"feature": address(latent), "op": op, "value": value}


@given(st.text("0123456789abcdef", min_size=64, max_size=64), st.integers(0, 2**32 - 1))
def test_a_uuid_is_read_back_without_a_table(sae: str, latent: int) -> None:
    uuid = uuid_of(sae, latent)
    assert (uuid.version, uuid.variant) == (8, "specified in RFC 4122")
    assert address_of(uuid) == f"sae:{sae[:22]}/{latent}"
    assert LatentNumbers({"0" * 64: 1, sae: 2**32}).place_of(uuid) == (sae, latent)


def test_the_numbers_of_several_saes_follow_each_other() -> None:
    numbers = LatentNumbers({SAE: 16, OTHER_SAE: 8})
    places = [numbers.place(number) for number in range(24)]
    assert places == [(SAE, latent) for latent in range(16)] + [(OTHER_SAE, latent) for latent in range(8)]
    assert [numbers.number(*place) for place in places] == [*range(24)]
    for wrong in (-1, 24):
        with pytest.raises(FeatureNotFound, match="0 to 23"):
            numbers.place(wrong)


@pytest.mark.parametrize("uuid", [UUID(STRANGE), uuid_of("c" * 64, 0), uuid_of(SAE, 16)])
def test_a_uuid_of_another_server_means_nothing(uuid: UUID) -> None:
    with pytest.raises(FeatureNotFound, match=str(uuid)):
        LatentNumbers({SAE: 16}).place_of(uuid)


@pytest.mark.parametrize(
    ("mode", "value", "weight"), [("nudge", 0.7, 0.7), ("pin", 0.5, 0.5), ("mul", 1.5, 0.5), ("mul", 0, -1)]
)
def test_an_intervention_is_an_edit(mode: str, value: float, weight: float) -> None:
    features = ours(interventions=[intervention(PIRATE, value, mode)])["features"]
    assert features == {address(PIRATE): {"mode": mode, "weight": weight}}


def test_a_scope_is_a_condition_and_one_with_an_event_ends_the_answer() -> None:
    asked = ours(
        interventions=[intervention(PIRATE, 0.7)],
        scopes=[
            scope(compared(BANKING, value=0.25), interventions=[intervention(FORMAL, -0.3)]),
            scope(compared(BANKING), compared(FORMAL, operator="<"), operator="OR", event="stop"),
        ],
    )
    assert asked["features"] == {
        address(PIRATE): {"mode": "nudge", "weight": 0.7},
        address(FORMAL): {"mode": "nudge", "weight": -0.3, "when": {"all": [condition(BANKING, value=0.25)]}},
    }
    assert asked["abort_when"] == [{"when": {"any": [condition(BANKING), condition(FORMAL, "<")]}, "event": "stop"}]


def test_several_features_on_the_left_are_any_of_them_and_scopes_inside_scopes_hold_together() -> None:
    inner = scope(compared(FORMAL), interventions=[intervention(PIRATE, 0.5)])
    assert ours(scopes=[scope(compared(BANKING), scopes=[inner])])["features"] == {
        address(PIRATE): {"mode": "nudge", "weight": 0.5, "when": {"all": [condition(BANKING), condition(FORMAL)]}}
    }
    anyone = ours(scopes=[scope(compared(BANKING, FORMAL), event="stop")])["abort_when"]
    assert anyone == [{"when": {"any": [condition(BANKING), condition(FORMAL)]}, "event": "stop"}]


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ({"interventions": [intervention(PIRATE, 0.3), intervention(PIRATE, 0.5)]}, "set twice"),
        ({"interventions": [intervention(PIRATE, 2.5, "mul")]}, "multiplied by 0 to 2"),
        ({"scopes": [scope(compared(PIRATE, operator=">="), event="x")]}, "by > or < here, not by >="),
        ({"scopes": [scope(compared(PIRATE, value=named(FORMAL)), event="x")]}, "not with another feature"),
        ({"scopes": [scope(compared(PIRATE, value=2), event="x")]}, "a share of the feature's largest activation"),
        ({"scopes": [scope(compared(PIRATE, FORMAL), compared(BANKING), event="x")]}, "cannot be joined"),
        (
            {"scopes": [scope(compared(PIRATE, FORMAL), scopes=[scope(compared(BANKING), event="x")])]},
            "without alternatives",
        ),
    ],
)
def test_what_cannot_be_meant_here_is_refused(asked: dict[str, Any], says: str) -> None:
    with pytest.raises(InvalidInput, match=says):
        ours(**asked)


@pytest.mark.parametrize("key", ["nonzero_strength_threshold", "min_nudge_entropy", "max_nudge_entropy", "unknown"])
def test_keys_without_a_counterpart_are_refused_over_http(client: TestClient, key: str, echoed: Echoes) -> None:
    answer = client.post(f"{API}/chat/completions", json=CHAT | {"controller": controller(**{key: 0.5})})
    assert answer.status_code == 400
    assert key in answer.json()["error"]["message"]
    assert not echoed


def test_a_completion_is_ours_and_says_what_ended_it(client: TestClient, engine: FakeEngine, echoed: Echoes) -> None:
    engine.default = ABORTED
    guard = scope(compared(BANKING), event="stop")
    asked = controller(interventions=[intervention(PIRATE, 0.5)], scopes=[guard])
    body = CHAT | {"controller": asked, "max_completion_tokens": 9, "seed": 42, "stop": ["x"], "temperature": 0.6}
    answer = client.post(f"{API}/chat/completions", json=body).json()
    assert answer["gf_event_names"] == ["stop"]
    assert answer["choices"][0]["finish_reason"] == "content_filter"
    assert answer["choices"][0]["message"] == {"role": "assistant", "content": "once upon a time"}
    assert answer["featurehub"]["applied"][0]["weight"] == 0.5
    assert len(answer["system_fingerprint"]) == 16
    extra = echoed[0].model_extra or {}
    assert extra == {"max_completion_tokens": 9, "seed": 42, "stop": ["x"], "temperature": 0.6}
    plain = client.post(f"{API}/chat/completions", json=CHAT).json()
    assert "gf_event_names" not in plain
    assert "featurehub" not in plain


def test_a_stream_numbers_its_chunks_and_carries_nothing_else(client: TestClient, engine: FakeEngine) -> None:
    engine.default = ABORTED
    asked = controller(interventions=[intervention(PIRATE, 0.5)], scopes=[scope(compared(BANKING), event="stop")])
    text = client.post(f"{API}/chat/completions", json=CHAT | {"controller": asked, "stream": True}).text
    found = [json.loads(each.removeprefix("data: ")) for each in text.strip().split("\n\n")]
    assert "".join(each["choices"][0]["delta"]["content"] for each in found) == "once upon a time "
    assert [each["choices"][0]["gf_token_index"] for each in found] == [*range(len(found))]
    assert {each["choices"][0]["delta"]["role"] for each in found} == {"assistant"}
    assert [each.get("gf_event_names") for each in found] == [None] * (len(found) - 1) + [["stop"]]
    assert found[-1]["choices"][0]["finish_reason"] == "content_filter"
    assert not any("featurehub" in each for each in found)


def test_text_that_looks_like_an_event_is_disguised_and_errors_are_passed_on() -> None:
    said = {"index": 0, "delta": {"content": "data: [DONE] ü\u2028"}, "finish_reason": None}
    chunk = {"id": "1", "object": "o", "created": 0, "model": "m", "choices": [said]}

    async def stream() -> Any:
        yield f"data: {json.dumps(chunk)}\n\ndata: {json.dumps({'error': {'message': 'gone'}})}\n\n: still here\n\n"
        yield "data: [DONE]\n\n"

    async def shaped() -> list[str]:
        return [each async for each in chunks(stream(), "f")]

    first, second = asyncio.run(shaped())
    assert first.isascii()
    assert first.count("data: ") == second.count("data: ") == 1
    assert json.loads(first[6:])["choices"][0]["delta"]["content"] == said["delta"]["content"]
    assert json.loads(second[6:]) == {"error": {"message": "gone"}}


@pytest.mark.parametrize(
    ("uuid", "status"),
    [(STRANGE, 404), (uuid_of(OTHER_SAE, 0).hex, 404), (uuid_of(SAE, 15).hex, 404), ("pirate", 400)],
)
def test_unknown_features_are_errors_of_the_request(client: TestClient, uuid: str, status: int) -> None:
    wrong = {"mode": "nudge", "features": {"features": [{"uuid": uuid}]}, "value": 0.5}
    answer = client.post(f"{API}/chat/completions", json=CHAT | {"controller": controller(interventions=[wrong])})
    assert answer.status_code == status, answer.text


def test_weights_out_of_bounds_and_stale_features_are_refused_as_ours_are(serve: Callable[..., TestClient]) -> None:
    from tests.api.conftest import CHECKED

    def status(latent: int, value: float) -> int:
        asked = controller(interventions=[intervention(latent, value)])
        return serve(CHECKED).post(f"{API}/chat/completions", json=CHAT | {"controller": asked}).status_code

    assert status(FORMAL, 1.5) == 400
    assert status(PIRATE, 0.5) == 409


def test_search_goes_page_by_page(client: TestClient) -> None:
    def page(number: int, size: int) -> list[dict[str, Any]]:
        params = {"query": "formal", "page": number, "perPage": size, "model": "demo"}
        return client.get(f"{API}/features/search", params=params).json()["features"]

    whole = page(1, 10)
    assert [each["label"] for each in whole][:2] == ["formal letters", "formal tone"] or len(whole) >= 2
    ours = client.get("/v1/features", params={"q": "formal"}).json()["data"]
    assert [(e["label"], e["index_in_sae"]) for e in whole] == [(e["label"], e["latent"]) for e in ours]
    assert [e["relevance"] for e in whole] == [e["relevance"] for e in ours]
    assert [*page(1, 1), *page(2, 1)] == whole[:2]
    assert page(99, 10) == []
    other = client.get(f"{API}/features/search", params={"query": "formal", "model": "llama"})
    assert other.status_code == 404
    assert "'demo'" in other.json()["error"]["message"]


def test_features_by_uuid_and_by_number(client: TestClient) -> None:
    uuids = [str(uuid_of(SAE, latent)) for latent in (BANKING, PIRATE, 15)]
    found = client.get(f"{API}/features/", params={"feature_id": uuids}).json()["features"]
    assert [(e["id"], e["label"], e["index_in_sae"]) for e in found] == [
        (uuids[0], "banking: loan, deposit", 2), (uuids[1], "pirate speech: matey, ship", 0), (uuids[2], "", 15),
    ]  # fmt: skip
    looked = client.post(f"{API}/features/lookup", json={"indices": [2, 0, 15], "model": "demo"}).json()["features"]
    assert looked == found
    assert client.post(f"{API}/features/lookup", json={"indices": [16], "model": "demo"}).status_code == 404
    assert client.get(f"{API}/features/", params={"feature_id": uuids * 17}).status_code == 400


def test_rerank_and_neighbors_are_ours(client: TestClient) -> None:
    uuids = [uuid_of(SAE, latent).hex for latent in (PIRATE, BANKING, FORMAL)]
    body = {"query": "a loan", "feature_ids": uuids, "model": "demo"}
    ranked = client.post(f"{API}/features/rerank", json=body).json()["features"]
    assert ranked[0]["index_in_sae"] == BANKING
    assert len(ranked) == 3
    assert len(client.post(f"{API}/features/rerank", json=body | {"top_k": 2}).json()["features"]) == 2
    near = client.post(f"{API}/attributions/neighbors", json={"feature_indices": [4], "model": "demo"}).json()
    ours = client.post("/v1/features/neighbors", json={"features": [f"sae:{SAE}/4"]}).json()["data"]
    assert [each["index_in_sae"] for each in near["neighbors"]] == [each["latent"] for each in ours]


def test_tokens_have_shares_of_each_features_largest_activation(client: TestClient, engine: FakeEngine) -> None:
    """Latent 9 has no feature, so that nothing is known to compare it with."""
    engine.default = reading((10, {0: 1.5, 9: 1.0}), (11, {2: 3.0, 0: 0.3}))
    body = {"messages": [{"role": "user", "content": "my loan"}], "model": "demo", "aggregate_by": "count"}
    tokens = client.post(f"{API}/chat-attribution/compute-features", json=body).json()["tokens"]
    shown = [[(e["index_in_sae"], e["activation_strength"]) for e in each["attributions"]] for each in tokens]
    assert shown == [[(0, pytest.approx(0.5))], [(2, pytest.approx(1.0)), (0, pytest.approx(0.1))]]
    assert tokens[0]["attributions"][0]["id"] == str(uuid_of(SAE, 0))
    texts = client.post(f"{API}/chat/tokenize", json={"messages": body["messages"], "model": "demo"}).json()
    assert [each["value"] for each in texts["tokens"]] == [each["token"] for each in tokens]


def test_reading_takes_chosen_features_and_a_controller(client: TestClient, engine: FakeEngine) -> None:
    engine.default = report(2) | reading((10, {0: 1.5}), (11, {0: 0.0}))
    asked = controller(interventions=[intervention(FORMAL, 0.5)])
    body = {"messages": [{"role": "user", "content": "my loan"}], "model": "demo", "controller": asked}
    answer = client.post(f"{API}/chat-attribution/compute-features", json=body | {"include_feature_indexes": [0]})
    assert answer.status_code == 200, answer.text
    [(_, steering)] = engine.ran
    assert [(read.top_k, read.latents) for read in steering.reads] == [(0, (0,))]
    assert [(edit.latent, edit.value) for edit in steering.edits] == [(FORMAL, 2.5)]


def test_logits_are_by_text_and_only_those_that_are_asked_for(client: TestClient, engine: FakeEngine) -> None:
    engine.default = report(2)
    engine.logprobs = {5: -1.0, 6: -0.5, sum(b"loan"): -3.0}
    path = f"{API}/chat-attribution/compute-logits"
    assert client.post(path, json=CHAT | {"top_k": 2}).json() == {"logits": {"<6>": -0.5, "<5>": -1.0}}
    assert client.post(path, json=CHAT | {"filter_vocabulary": ["loan"]}).json() == {"logits": {"loan": -3.0}}
    asked = CHAT | {"top_k": 1, "controller": controller(interventions=[intervention(FORMAL, 0.5)])}
    assert client.post(path, json=asked).json() == {"logits": {"<6>": -0.5}}
    assert [len(steering.edits) for _, steering in engine.ran][-2:] == [1, 0]


def test_attribution_explains_one_token(client: TestClient) -> None:
    asked = CHAT | {"startIndex": 3, "endIndex": 4}
    answer = client.post(f"{API}/attributions/compute-logit-attribution", json=asked)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "endIndex")
    early = client.post(f"{API}/attributions/compute-logit-attribution", json=CHAT | {"startIndex": 1, "endIndex": 1})
    assert (early.status_code, early.json()["error"]["param"]) == (400, "startIndex")


def test_where_nothing_is_found_the_client_hears_why(client: TestClient, engine: FakeEngine) -> None:
    """An empty answer would leave it unsteered in silence."""
    engine.default = reading((10, {}), (11, {}))
    asked = {"specification": "xyzzy", "model": "demo"}
    answer = client.post(f"{API}/features/auto-conditional", json=asked)
    assert answer.status_code == 404, answer.text
    assert "no feature" in answer.json()["error"]["message"]
