"""Conditions and aborts: from names to latents, and what the answer says when one ended it."""

import json
from typing import Any

import pytest
from fastapi.testclient import TestClient

from api.engine import FakeEngine
from api.fake import Echoes
from featurehub.edits import Abort, Condition, Steering, When
from tests.api.reports import report

CHAT = {"model": "demo", "messages": [{"role": "user", "content": "tell me a story"}]}
BANKING = {"feature": "banking", "value": 0.5}
DECIDED = {"seen_tokens": 9, "expected_tokens": 9}
GUARDED = {"requests": [0], "conditions": {"layers.2.resid_post": DECIDED}, "aborts": DECIDED}
ABORTED = report(7, aborted={"event": "money", "index": 0, "position": 12}, **GUARDED)


@pytest.fixture(autouse=True)
def guarded(engine: FakeEngine) -> None:
    engine.default = report(7, **GUARDED)


def ask(client: TestClient, status: int = 200, **body: Any) -> dict[str, Any]:
    answer = client.post("/v1/chat/completions", json=CHAT | body)
    assert answer.status_code == status, answer.text
    return answer.json()


def sent(echoed: Echoes) -> Steering:
    assert echoed[-1].vllm_xargs is not None
    return Steering.read(echoed[-1].vllm_xargs["featurehub"])


def test_a_value_is_a_share_of_the_largest_activation(client: TestClient, echoed: Echoes) -> None:
    ask(client, features={"pirate speech": {"weight": 0.5, "when": BANKING}})
    (edit,) = sent(echoed).edits
    assert edit.when == When(conditions=(Condition(sae=edit.sae, latent=2, value=edit.when.conditions[0].value),))
    pinned = ask(client, features={"banking": {"mode": "pin", "weight": 0.5}})["featurehub"]["applied"][0]
    assert edit.when.conditions[0].value == pytest.approx(pinned["coefficient"])
    assert edit.when.conditions[0].value > 0


def test_all_any_below_and_so_far_reach_the_engine(client: TestClient, echoed: Echoes) -> None:
    two = [BANKING | {"op": "<"}, {"feature": "formal tone", "value": 0.25, "so_far": True}]
    for kind in ("all", "any"):
        ask(client, features={"pirate speech": {"weight": 0.5, "when": {kind: two}}})
        (edit,) = sent(echoed).edits
        assert edit.when is not None
        assert edit.when.any == (kind == "any")
        below, lasting = edit.when.conditions
        assert (below.latent, below.op, below.so_far) == (2, "<", False)
        assert (lasting.latent, lasting.op, lasting.so_far) == (1, ">", True)


def test_an_abort_alone_makes_a_steered_request(client: TestClient, echoed: Echoes, engine: FakeEngine) -> None:
    engine.default = GUARDED
    ours = ask(client, abort_when=[BANKING | {"event": "money"}])["featurehub"]
    assert ours["aborted"] is None
    (abort,) = sent(echoed).aborts
    assert isinstance(abort, Abort)
    assert (abort.event, abort.positions) == ("money", "generated")


UNDECIDED = {"layers.2.resid_post": {"seen_tokens": 0, "expected_tokens": 9}}


@pytest.mark.parametrize(
    ("told", "named"),
    [
        (None, "no report"),
        ({}, "the conditions were decided at no token"),
        (GUARDED | {"conditions": UNDECIDED}, "decided at 0 of 9 tokens"),
        (GUARDED | {"aborts": DECIDED | {"seen_tokens": 8}}, "judged at 8 of 9 tokens"),
        (GUARDED | {"aborts": None}, "judged at no token"),
        ({"refused": "it did not come through admission"}, "did not come through admission"),
    ],
)
def test_a_guard_that_did_not_watch_every_token_withholds_the_answer(
    client: TestClient, engine: FakeEngine, told: dict[str, Any] | None, named: str
) -> None:
    engine.default = told
    assert named in ask(client, 500, abort_when=[BANKING])["error"]["message"]


@pytest.mark.parametrize("conditions", [{}, UNDECIDED])
def test_an_edit_whose_condition_was_never_decided_is_not_one_whose_condition_was_not_met(
    client: TestClient, engine: FakeEngine, conditions: dict[str, Any]
) -> None:
    engine.default = report(9, conditions=conditions)
    withheld = ask(client, 500, features={"pirate speech": {"weight": 0.5, "when": BANKING}})
    assert "decided at" in withheld["error"]["message"]


def test_an_aborted_answer_says_which_event_ended_it(client: TestClient, engine: FakeEngine) -> None:
    engine.default = ABORTED
    guard = {"when": {"any": [BANKING, {"feature": "formal tone", "value": 0.9}]}, "event": "money"}
    answer = ask(client, features={"pirate speech": 0.5}, abort_when=[guard])
    assert answer["choices"][0]["finish_reason"] == "content_filter"
    assert answer["featurehub"]["aborted"] == {"event": "money", "feature": "banking, formal tone", "position": 12}


@pytest.mark.parametrize(("index", "feature"), [(0, "banking"), (1, "formal tone")])
def test_two_aborts_of_one_name_are_told_apart(
    client: TestClient, engine: FakeEngine, index: int, feature: str
) -> None:
    engine.default = GUARDED | {"aborted": {"event": "unsafe", "index": index, "position": 12}}
    guards = [{"feature": name, "value": 0.5, "event": "unsafe"} for name in ("banking", "formal tone")]
    aborted = ask(client, abort_when=guards)["featurehub"]["aborted"]
    assert aborted == {"event": "unsafe", "feature": feature, "position": 12}


@pytest.mark.parametrize("index", [1, -1])
def test_an_abort_that_nobody_asked_for_withholds_the_answer(
    client: TestClient, engine: FakeEngine, index: int
) -> None:
    engine.default = GUARDED | {"aborted": {"event": "unsafe", "index": index, "position": 12}}
    assert ask(client, 500, abort_when=[BANKING])["error"]["code"] == "steering_lost"


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"abort_when": [BANKING, BANKING | {"feature": "nothing"}]}, "abort_when.1"),
        ({"abort_when": [{"when": {"any": [BANKING, BANKING | {"feature": "twin"}]}}]}, "abort_when.0"),
        (
            {"features": {"formal tone": {"weight": 0.5, "when": BANKING | {"feature": "nothing"}}}},
            "features.formal tone.when",
        ),
        ({"features": {"twin": 0.5}, "abort_when": [BANKING | {"feature": "twin"}]}, "features.twin"),
    ],
)
def test_an_error_names_the_key_that_the_feature_came_in(client: TestClient, body: dict[str, Any], param: str) -> None:
    status = 404 if "nothing" in json.dumps(body) else 409
    assert ask(client, status, **body)["error"]["param"] == param


def test_so_does_one_of_a_stale_feature(serve: Any) -> None:
    stale = serve("n" * 64)
    assert (
        ask(stale, 409, abort_when=[BANKING, BANKING | {"feature": "pirate speech"}])["error"]["param"]
        == "abort_when.1"
    )


def test_a_stream_says_so_too(client: TestClient, engine: FakeEngine) -> None:
    engine.default = ABORTED
    body = CHAT | {"stream": True, "abort_when": [BANKING | {"event": "money"}]}
    lines = [line[6:] for line in client.post("/v1/chat/completions", json=body).text.splitlines() if line]
    chunks = [json.loads(line) for line in lines if line != "[DONE]"]
    reasons = [choice["finish_reason"] for chunk in chunks for choice in chunk["choices"]]
    assert reasons[-1] == "content_filter"
    assert "stop" not in reasons
    assert chunks[-1]["featurehub"]["aborted"]["event"] == "money"


@pytest.mark.parametrize(
    ("body", "status", "named"),
    [
        ({"abort_when": [{"feature": "banking"}]}, 400, "value"),
        ({"abort_when": [BANKING | {"value": 1.5}]}, 400, "value"),
        ({"abort_when": [BANKING | {"op": ">="}]}, 400, "op"),
        ({"abort_when": [BANKING | {"extra": 1}]}, 400, "extra"),
        ({"abort_when": [BANKING] * 9}, 400, "9 aborts"),
        ({"abort_when": [BANKING | {"feature": "no such thing"}]}, 404, "no such thing"),
        ({"features": {"pirate speech": {"weight": 0.5, "when": {}}}}, 400, "when"),
        ({"features": {"pirate speech": {"weight": 0.5, "when": {"all": [BANKING], "any": [BANKING]}}}}, 400, "when"),
        ({"features": {"pirate speech": {"weight": 0.5, "when": BANKING | {"feature": "twin"}}}}, 409, "twin"),
    ],
)
def test_what_is_wrong_is_named(
    client: TestClient, echoed: Echoes, body: dict[str, Any], status: int, named: str
) -> None:
    assert named in json.dumps(ask(client, status, **body))
    assert not echoed


def test_a_watched_feature_that_nobody_checked_is_warned_of(client: TestClient, serve: Any) -> None:
    unchecked = serve("o" * 64)
    warnings = ask(unchecked, abort_when=[BANKING])["featurehub"]["warnings"]
    assert [warning["code"] for warning in warnings] == ["feature_unchecked"]
