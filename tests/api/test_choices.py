"""Requests with several answers: their counts add up, and what belongs to one answer is refused."""

from typing import Any

import pytest
from fastapi.testclient import TestClient

from api.engine import FakeEngine
from api.fake import Echoes
from tests.api.reports import reading, report

CHAT = {"model": "demo", "messages": [{"role": "user", "content": "tell me a story"}]}
TEXTS, IDS, LISTS = ["a", "b"], [1, 4, 509], [[1, 4], [1, 5, 6]]
STEER = {"features": {"pirate speech": 0.5}}
BANKING = {"feature": "banking", "value": 0.5}
LASTING = {"features": {"pirate speech": {"weight": 0.5, "when": BANKING | {"so_far": True}}}}
READ, GUARD = {"return_activations": {"top_k": 1}}, {"abort_when": [BANKING]}


def ask(client: TestClient, prompt: Any = None, **body: Any) -> Any:
    if prompt is None:
        return client.post("/v1/chat/completions", json=CHAT | body)
    return client.post("/v1/completions", json={"model": "demo", "prompt": prompt} | body)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("prompt", "n", "asked", "param"),
    [
        (TEXTS, 1, READ, "prompt"),
        (TEXTS, 1, GUARD, "prompt"),
        (LISTS, 1, READ, "prompt"),
        (LISTS, 1, GUARD | STEER, "prompt"),
        ("a", 2, READ, "n"),
        ("a", 2, GUARD, "n"),
        ("a", 2, LASTING, "n"),
        (None, 2, READ, "n"),
        (None, 3, GUARD, "n"),
        (None, 2, LASTING, "n"),
    ],
)
def test_what_belongs_to_one_answer_is_refused_for_several(
    client: TestClient, echoed: Echoes, prompt: Any, n: int, asked: dict[str, Any], param: str, stream: bool
) -> None:
    answer = ask(client, prompt, n=n, stream=stream, **asked)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)
    assert not echoed


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("prompt", "n", "requests"),
    [
        ("a", 1, 1), ("a", None, 1), ("a", 3, 3), (["a"], 1, 1), (TEXTS, 1, 2), (TEXTS, 2, 4), (IDS, 1, 1),
        ([IDS], 1, 1), (LISTS, 1, 2), (LISTS, 3, 6), (None, 1, 1), (None, 2, 2),
    ],
)  # fmt: skip
def test_edits_alone_count_over_all_answers_and_every_one_must_be_there(
    client: TestClient, engine: FakeEngine, prompt: Any, n: int | None, requests: int, stream: bool
) -> None:
    engine.default = report(7, requests=list(range(requests)))
    answer = ask(client, prompt, n=n, stream=stream, **STEER)
    assert answer.status_code == 200
    assert '"steered_tokens":7' in answer.text
    for other in (requests - 1, requests + 1):
        engine.default = report(7, requests=list(range(other)))
        assert "steering_lost" in ask(client, prompt, n=n, stream=stream, **STEER).text


@pytest.mark.parametrize("prompt", ["a", ["a"], IDS, [IDS], None])
def test_one_prompt_may_come_in_any_form(client: TestClient, engine: FakeEngine, prompt: Any) -> None:
    engine.default = reading((11, {2: 1.5}))
    assert ask(client, prompt, **READ).json()["featurehub"]["activations"][0]["token"] == "<11>"


def test_conditions_that_last_take_a_list_but_not_n(client: TestClient, engine: FakeEngine) -> None:
    decided = {"layers.2.resid_post": {"seen_tokens": 7, "expected_tokens": 7}}
    engine.default = report(7, requests=[0, 1], conditions=decided)
    assert ask(client, TEXTS, **LASTING).status_code == 200


@pytest.mark.parametrize(
    ("body", "param"), [({"prompt_embeds": "AAAA"}, "prompt_embeds"), ({"use_beam_search": True}, "use_beam_search")]
)
def test_what_cannot_be_steered_at_all(client: TestClient, echoed: Echoes, body: dict[str, Any], param: str) -> None:
    answer = ask(client, "a", **body, **STEER)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)
    assert not echoed
    assert ask(client, "a", **body).status_code == 200


class TestWhatWasComputedAfterTheAnswersEnd:
    """The engine goes on until it hears of a stop string. By its usage, the echo computes the prompt's one token."""

    @pytest.mark.parametrize("stream", [False, True])
    def test_it_is_not_counted(self, client: TestClient, engine: FakeEngine, stream: bool) -> None:
        engine.default = report(3, reached={0: 3})
        assert '"steered_tokens":1,' in ask(client, stream=stream, **STEER).text
        engine.default = report(7, requests=[0, 1], reached={0: 3, 1: 4})
        assert '"steered_tokens":2,' in ask(client, n=2, stream=stream, **STEER).text

    @pytest.mark.parametrize("stream", [False, True])
    def test_it_is_not_read(self, client: TestClient, engine: FakeEngine, stream: bool) -> None:
        engine.default = reading((11, {2: 1.5}), (12, {2: 1.0, 3: 0.5})) | {"reached": {0: 2}}
        answer = ask(client, stream=stream, **READ).text
        assert '"token":"<11>"' in answer
        assert "<12>" not in answer

    @pytest.mark.parametrize("stream", [False, True])
    @pytest.mark.parametrize(("position", "reason"), [(0, "content_filter"), (1, "stop")])
    def test_it_aborts_nothing(
        self, client: TestClient, engine: FakeEngine, position: int, reason: str, stream: bool
    ) -> None:
        judged = {"seen_tokens": 2, "expected_tokens": 2}
        found = {"event": "banking", "index": 0, "position": position}
        engine.default = {"requests": [0], "reached": {0: 2}, "aborts": judged, "aborted": found}
        engine.default["conditions"] = {"layers.2.resid_post": judged}
        assert f'"finish_reason":"{reason}"' in ask(client, stream=stream, **GUARD).text.replace('": "', '":"')

    def test_edits_of_the_prompt_alone_or_under_a_condition_keep_their_counts(
        self, client: TestClient, engine: FakeEngine
    ) -> None:
        engine.default = report(3, reached={0: 5})
        assert ask(client, **STEER, steer={"positions": "prompt"}).json()["featurehub"]["steered_tokens"] == 3
        engine.default = report(
            3, reached={0: 5}, conditions={"layers.2.resid_post": {"seen_tokens": 5, "expected_tokens": 5}}
        )
        engine.default["hooks"]["layers.2.resid_post"]["in_force"] = {0: 3}
        assert ask(client, **LASTING).json()["featurehub"]["steered_tokens"] == 3

    def test_token_counts_are_for_those_who_asked(self, client: TestClient, engine: FakeEngine) -> None:
        engine.default = report(3, reached={0: 3})
        assert '"usage"' not in ask(client, stream=True, **STEER).text
        asked = ask(client, stream=True, stream_options={"include_usage": True}, **STEER).text
        assert asked.count('"usage"') == 1
        assert '"steered_tokens":1,' in asked
