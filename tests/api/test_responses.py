"""Steered responses: what OpenAI's other way to ask adds to completions."""

import json
from typing import Any

import pytest
from fastapi.testclient import TestClient

from api.engine import FakeEngine
from api.fake import Echoes
from featurehub.edits import Steering
from featurehub.features import Edit
from featurehub.store import Store
from tests.api.reports import report

ASKED = {"model": "demo", "input": "tell me a story"}
PIRATE = {"features": {"pirate speech": 0.5}}
DECIDED = {"seen_tokens": 9, "expected_tokens": 9}
GUARDED = {"requests": [0], "conditions": {"layers.2.resid_post": DECIDED}, "aborts": DECIDED}


def ask(client: TestClient, **more: Any) -> Any:
    answer = client.post("/v1/responses", json=ASKED | more)
    assert answer.status_code == 200, answer.text
    return answer


def events(text: str) -> list[tuple[str, dict[str, Any]]]:
    """The type and the data of each event."""
    parts = [each.split("\n") for each in text.strip().split("\n\n")]
    return [(kind.removeprefix("event: "), json.loads(data.removeprefix("data: "))) for kind, data in parts]


def test_without_edits_it_is_vllms_own(client: TestClient, echoed: Echoes, engine: FakeEngine) -> None:
    for streamed in (False, True):
        plain, ours = (ask(client, stream=streamed, **more).content for more in ({}, {"features": {}}))
        assert ours == plain
    assert echoed[-1].store
    assert engine.taken == []


def test_a_response_says_what_was_applied(client: TestClient, echoed: Echoes) -> None:
    answer = ask(client, **PIRATE)
    [applied] = answer.json()["featurehub"]["applied"]
    assert (applied["weight"], applied["coefficient"]) == (0.5, 2.0)
    assert answer.headers["x-featurehub-applied"] == applied["id"]
    assert Steering.read((echoed[-1].vllm_xargs or {})["featurehub"]).edits[0].value == 2.0
    assert not echoed[-1].store
    plain = ask(client).json()
    assert {key: answer.json()[key] for key in plain} == plain


def test_so_does_the_last_event_of_a_stream(client: TestClient) -> None:
    whole = ask(client, **PIRATE).json()
    plain, steered = (events(ask(client, stream=True, **more).text) for more in ({}, PIRATE))
    assert steered[:-1] == plain[:-1]
    assert [kind for kind, _ in steered].count("response.output_text.delta") == 4
    assert steered[-1][0] == "response.completed"
    assert all(kind == data["type"] for kind, data in steered)
    assert steered[-1][1]["response"] == whole


def test_its_own_counts_bound_the_report(client: TestClient, engine: FakeEngine) -> None:
    """The echo says that one token was read and one written, of which the last is never computed."""
    engine.default = report(7, reached={0: 7})
    for streamed in (False, True):
        text = ask(client, stream=streamed, **PIRATE).text
        body = events(text)[-1][1]["response"] if streamed else json.loads(text)
        assert body["featurehub"]["steered_tokens"] == 1


def test_an_abort_makes_it_incomplete(client: TestClient, engine: FakeEngine) -> None:
    engine.default = report(7, aborted={"event": "money", "index": 0, "position": 0}, **GUARDED)
    abort = {"abort_when": [{"feature": "banking", "value": 0.5, "event": "money"}]}
    whole = ask(client, **abort).json()
    assert (whole["status"], whole["incomplete_details"]) == ("incomplete", {"reason": "content_filter"})
    assert whole["featurehub"]["aborted"]["event"] == "money"
    assert events(ask(client, stream=True, **abort).text)[-1][1]["response"] == whole


def test_one_that_was_not_steered_is_withheld(client: TestClient, engine: FakeEngine) -> None:
    engine.default = None
    assert client.post("/v1/responses", json=ASKED | PIRATE).json()["error"]["code"] == "steering_lost"
    *before, (kind, last) = events(ask(client, stream=True, **PIRATE).text)
    assert (kind, last["type"], last["code"]) == ("error", "error", "steering_lost")
    assert last["sequence_number"] == len(before)
    assert last["error"]["message"] == last["message"]
    assert "response" not in last


@pytest.mark.parametrize(
    "field", [{"background": True}, {"previous_response_id": "resp_1"}, {"tools": [{"type": "mcp"}]}]
)
def test_what_cannot_be_steered_is_refused(client: TestClient, echoed: Echoes, field: dict[str, Any]) -> None:
    answer = client.post("/v1/responses", json=ASKED | PIRATE | field)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, next(iter(field)))
    assert not echoed
    ask(client, **field)
    ask(client, **PIRATE, tools=[{"type": "function"}, {"type": "custom"}])


def test_a_stored_variant_answers(client: TestClient, store: Store) -> None:
    with store.write() as writer:
        writer.variants.save("bank", "demo", {"pirate speech": Edit(weight=0.5)})
    answer = ask(client, model="bank").json()
    assert answer["featurehub"]["variant"] == {"name": "bank", "version": 1}
    assert answer["featurehub"]["applied"] == ask(client, **PIRATE).json()["featurehub"]["applied"]
