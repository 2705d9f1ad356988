"""``/v1/features/logits``: what the engine runs, with and without edits, and what is made of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from fastapi.testclient import TestClient

from api.engine import FakeEngine
from featurehub.edits import Steering
from tests.api.reports import report

MESSAGES = [{"role": "user", "content": "how are you"}]
PLAIN = {5: -0.5, 6: -1.0, 7: -3.0, sum(b"loan"): -9.0}
STEERED = {5: -2.0, 6: -0.25, 7: -3.5, sum(b"loan"): -4.0}


@dataclass
class Steered(FakeEngine):
    """An engine whose next tokens depend on whether anything steers.

    rendered: whether each text was to be continued
    """

    rendered: list[bool] = field(default_factory=list)

    def tokens(self, text: Any, *, to_continue: bool = False) -> Any:
        self.rendered.append(to_continue)
        return super().tokens(text)

    async def run(self, token_ids: Sequence[int], steering: Steering, **asked: Any) -> Mapping[int, float]:
        self.logprobs = STEERED if steering.edits else PLAIN
        return await super().run(token_ids, steering, **asked)


@pytest.fixture
def engine() -> FakeEngine:
    return Steered(default=report(3))


def ask(client: TestClient, status: int = 200, **body: Any) -> dict[str, Any]:
    answer = client.post("/v1/features/logits", json={"messages": MESSAGES} | body)
    assert answer.status_code == status, answer.text
    return answer.json()


def numbers(rows: list[dict[str, Any]]) -> list[tuple[int, float]]:
    return [(each["id"], each["logprob"]) for each in rows]


def test_without_features_there_is_one_distribution(client: TestClient, engine: Steered) -> None:
    found = ask(client, top_k=2)
    assert numbers(found["tokens"]) == [(5, -0.5), (6, -1.0)]
    assert found["tokens"][0]["text"] == "<5>"
    assert (found["unsteered"], found["position"], found["applied"]) == (None, 3, [])
    assert engine.rendered == [True]
    assert engine.taken == []


def test_with_features_there_are_both(client: TestClient, engine: FakeEngine) -> None:
    found = ask(client, top_k=2, features={"pirate speech": 0.5})
    assert numbers(found["tokens"]) == [(6, -0.25), (5, -2.0)]
    assert numbers(found["unsteered"]) == [(5, -0.5), (6, -1.0)]
    [edit] = found["applied"]
    assert (edit["coefficient"], edit["dose"]) == (2.0, 0.25)
    assert [each["steered_tokens"] for each in found["saes"]] == [3]
    assert [bool(steering.edits) for _, steering in engine.ran] == [True, False]


def test_named_tokens_come_whatever_their_place(client: TestClient, engine: FakeEngine) -> None:
    found = ask(client, top_k=1, tokens=["loan", 5, 7], features={"pirate speech": 0.5})
    assert numbers(found["tokens"]) == [(6, -0.25), (sum(b"loan"), -4.0), (5, -2.0), (7, -3.5)]
    assert numbers(found["unsteered"]) == [(5, -0.5), (sum(b"loan"), -9.0), (7, -3.0)]
    keys = [steering.report for _, steering in engine.ran if steering.report]
    assert len(keys) == len(set(keys)) == 4 == len(engine.taken)


def test_steering_that_did_not_run_is_withheld(client: TestClient, engine: FakeEngine) -> None:
    engine.default = report(2, expected=3)
    assert "ran over 2 of 3" in ask(client, 500, features={"pirate speech": 0.5})["error"]["message"]


@pytest.mark.parametrize(
    ("body", "status", "param"),
    [
        ({"text": "a"}, 400, None),
        ({"top_k": 0}, 400, "top_k"),
        ({"tokens": ["two words"]}, 400, "tokens"),
        ({"tokens": [-1]}, 400, "tokens.0"),
        ({"features": {"pirate speech": 3}}, 400, "features.pirate speech"),
        ({"features": {"no such": 0.1}}, 404, "features.no such"),
        ({"features": {"pirate speech": 0.1}, "steer": {"positions": "some"}}, 400, "steer.positions"),
    ],
)
def test_bad_bodies(client: TestClient, body: dict[str, Any], status: int, param: str | None) -> None:
    found = ask(client, status, **body)["error"]
    assert (found["param"] or "").startswith(param or "")


def test_a_text_that_is_several_tokens_says_which(client: TestClient) -> None:
    message = ask(client, 400, tokens=["two words"])["error"]["message"]
    two, words = sum(b"two"), sum(b"words")
    assert message == f"'two words' is 2 tokens: '<{two}>' ({two}), '<{words}>' ({words}); give one of them or its id"


def test_a_stored_variant_steers_them_and_another_model_is_refused(client: TestClient, engine: FakeEngine) -> None:
    app: Any = client.app
    app.state.featurehub = replace(app.state.featurehub, operator_key="key")
    stored = {"name": "pirate-bank", "model": "demo", "features": {"pirate speech": 0.5}}
    assert client.post("/v1/variants", json=stored, headers={"x-featurehub-key": "key"}).status_code == 200
    found = ask(client, top_k=1, model="pirate-bank")
    assert (numbers(found["tokens"]), numbers(found["unsteered"])) == ([(6, -0.25)], [(5, -0.5)])
    assert [edit["weight"] for edit in found["applied"]] == [0.5]
    assert ask(client, 400, model="an adapter")["error"]["param"] == "model"
