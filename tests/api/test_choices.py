"""Requests with several answers: each has a report of its own, and the counts add up."""

import json
from typing import Any

import pytest
from fastapi.testclient import TestClient

from api.choices import Choices
from api.engine import FakeEngine
from api.fake import Echoes
from tests.api.reports import HOOK, counts, reading, report, several

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
    ("prompt", "n", "requests"),
    [
        ("a", 1, 1), ("a", None, 1), ("a", 3, 3), (["a"], 1, 1), (TEXTS, 1, 2), (TEXTS, 2, 4), (IDS, 1, 1),
        ([IDS], 1, 1), (LISTS, 1, 2), (LISTS, 3, 6), (None, 1, 1), (None, 2, 2),
    ],
)  # fmt: skip
def test_counts_are_over_all_answers_and_of_each_and_every_one_must_be_there(
    client: TestClient, engine: FakeEngine, prompt: Any, n: int | None, requests: int, stream: bool
) -> None:
    wires = several(*(report(2 + i) for i in range(requests)), n=n or 1)
    engine.default = wires[::-1]
    told = ours(ask(client, prompt, n=n, stream=stream, **STEER))
    assert told["steered_tokens"] == sum(2 + i for i in range(requests))
    each = [(own["index"], own["steered_tokens"], own["applied"][0]["tokens"]) for own in told.get("choices", [])]
    assert each == ([(i, 2 + i, 2 + i) for i in range(requests)] if requests > 1 else [])
    strange = [wire | {"id": "another"} for wire in wires] if requests > 1 else [wires[0] | {"requests": []}]
    for lost in (wires[1:], [*wires, report(1, requests=[99])], strange):
        engine.default = lost
        assert "steering_lost" in ask(client, prompt, n=n, stream=stream, **STEER).text


def ours(answer: Any) -> dict[str, Any]:
    """The ``featurehub`` object of an answer, streamed or not."""
    assert answer.status_code == 200, answer.text
    if not answer.headers["content-type"].startswith("text/event-stream"):
        return answer.json()["featurehub"]
    return next(each["featurehub"] for each in chunks(answer) if "featurehub" in each)


def chunks(answer: Any) -> list[dict[str, Any]]:
    data = [line.removeprefix("data: ") for line in answer.text.splitlines() if line.startswith("data: {")]
    return [json.loads(each) for each in data]


def finished(answer: Any, stream: bool) -> dict[int, str]:
    """By its index, how each choice ended."""
    whole = chunks(answer) if stream else [answer.json()]
    choices = [choice for each in whole for choice in each["choices"]]
    return {each["index"]: each["finish_reason"] for each in choices if each["finish_reason"]}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(("prompt", "n"), [(TEXTS, 1), ("a", 2), (None, 2)])
def test_each_answer_has_activations_of_its_own(
    client: TestClient, engine: FakeEngine, prompt: Any, n: int, stream: bool
) -> None:
    engine.default = several(reading((11, {2: 1.5})), reading((12, {3: 0.5})), n=n)
    told = ours(ask(client, prompt, n=n, stream=stream, **READ))
    assert told["activations"] is None
    read = [(own["activations"][0]["token"], own["activations"][0]["features"][0]) for own in told["choices"]]
    assert [(token, feature["activation"]) for token, feature in read] == [("<11>", 1.5), ("<12>", 0.5)]
    assert read[0][1]["label"].startswith("banking")


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(("prompt", "n"), [(TEXTS, 1), ("a", 2), (None, 2)])
def test_an_abort_ends_its_own_answer_alone(
    client: TestClient, engine: FakeEngine, prompt: Any, n: int, stream: bool
) -> None:
    judged = {"seen_tokens": 1, "expected_tokens": 1}
    watched = {"aborts": judged, "conditions": {HOOK: judged}}
    engine.default = several(watched, watched | {"aborted": {"event": "banking", "index": 0, "position": 0}}, n=n)
    answer = ask(client, prompt, n=n, stream=stream, **GUARD)
    told = ours(answer)
    assert finished(answer, stream) == {0: "stop", 1: "content_filter"}
    assert [own["aborted"] and own["aborted"]["position"] for own in told["choices"]] == [None, 0]
    assert told["aborted"]["event"] == "banking"


@pytest.mark.parametrize("prompt", ["a", ["a"], IDS, [IDS], None])
def test_one_prompt_may_come_in_any_form(client: TestClient, engine: FakeEngine, prompt: Any) -> None:
    engine.default = reading((11, {2: 1.5}))
    assert ask(client, prompt, **READ).json()["featurehub"]["activations"][0]["token"] == "<11>"


@pytest.mark.parametrize(("prompt", "n"), [(TEXTS, 1), ("a", 2)])
def test_conditions_that_last_are_of_each_answer(client: TestClient, engine: FakeEngine, prompt: Any, n: int) -> None:
    decided = {HOOK: {"seen_tokens": 7, "expected_tokens": 7}}
    held = [{HOOK: counts(7, in_force={0: tokens})} for tokens in (3, 0)]
    engine.default = several(*(report(7, conditions=decided) | {"hooks": each} for each in held), n=n)
    told = ours(ask(client, prompt, n=n, **LASTING))
    assert [own["applied"][0]["tokens"] for own in told["choices"]] == [3, 0]
    assert told["applied"][0]["tokens"] == 3


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
        engine.default = several(report(3, reached={0: 3}), report(4, reached={0: 4}))
        told = ours(ask(client, n=2, stream=stream, **STEER))
        assert [told["steered_tokens"], *(own["steered_tokens"] for own in told["choices"])] == [2, 1, 1]

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
        engine.default = {"requests": [0], "prompt_tokens": 1, "reached": {0: 2}, "aborts": judged, "aborted": found}
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

    def test_nor_are_the_chunks_of_several_answers(self, client: TestClient, engine: FakeEngine) -> None:
        """Every chunk's are asked of vLLM, and taken out again."""
        engine.default = several(report(3), report(4))
        every = {"include_usage": True, "continuous_usage_stats": True}
        shown = [
            [bool(each.get("usage")) for each in chunks(ask(client, n=2, stream=True, stream_options=options, **STEER))]
            for options in (None, {"include_usage": True}, every)
        ]
        assert not any(shown[0])
        assert (shown[1][-1], any(shown[1][:-1])) == (True, False)
        assert all(shown[2])

    def test_nor_are_their_tokens(self, client: TestClient, engine: FakeEngine, echoed: Echoes) -> None:
        engine.default = several(report(3), report(4))
        quiet, loud = (
            [each["token_ids"] for each in ask(client, n=2, **asked, **STEER).json()["choices"]]
            for asked in ({}, {"return_token_ids": True})
        )
        assert (quiet, loud) == ([None, None], [[1], [1]])
        ask(client, n=2, echo=True, **STEER)
        assert [each.return_token_ids for each in echoed] == [True, True, False]


@pytest.mark.parametrize("base", ["cmpl-1234", "cmpl-x_3-4-00000001", "2_cmpl-a-1"])
@pytest.mark.parametrize("random", ["", "-0a1b2c3d", "-12345678"])
def test_ids_say_which_answer_a_request_makes(base: str, random: str) -> None:
    """Of lists of prompts and of chats, whatever id a client chose, with vLLM's random digits and without."""
    for separator in "-_":
        placed = [Choices(12, 3).place(f"{j}_{base}{separator}{i}{random}") for i in range(12) for j in range(3)]
        assert placed == list(range(36))
        assert [Choices(12).place(f"{base}{separator}{i}{random}") for i in range(12)] == list(range(12))
    assert [Choices(1, 3).place(f"{j}_{base}{random}") for j in range(3)] == [0, 1, 2]
    assert Choices(2, 2).place("1_strange") is None
