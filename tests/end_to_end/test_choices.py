"""Several answers to one request: each is reported as it would be alone.

The naive twin of a request with several prompts and ``n`` answers is a request for each answer, with the seed that vLLM
gives it. An abort, a stop string and the largest length end some of them, each at another token.
"""

import json
from typing import Any

import httpx
import numpy as np
import pytest

pytestmark = pytest.mark.engine

N, SEED, TOKENS = 3, 31, 24
QUESTIONS = ["is my loan safe ?", "tell me something ."]
READ = {"top_k": 3, "features": ["pirate"]}
HELD = {"feature": "pirate", "value": 0.05, "so_far": True}
BANK: dict[str, Any] = {"mode": "pin", "weight": 0.4, "when": HELD}
GUARDED: dict[str, Any] = {
    "features": {"pirate": 0.6, "banking": BANK},
    "abort_when": [{"feature": "banking", "value": 0.05, "event": "bank"}],
    "return_activations": READ,
}
STOPPED: dict[str, Any] = {"features": {"pirate": 0.6}, "return_activations": READ, "stop": ["the"]}
SAMPLED = {"model": "demo", "max_tokens": TOKENS, "temperature": 1.0}


def asked(kind: str, question: Any) -> tuple[str, dict[str, Any]]:
    if kind == "chat":
        return "chat/completions", {"messages": [{"role": "user", "content": question}]}
    return "completions", {"prompt": question, "echo": kind == "echo"}


def send(url: str, path: str, body: dict[str, Any], stream: bool) -> tuple[dict[int, tuple[str, str]], dict[str, Any]]:
    """By index, the text and finish reason of each choice; and the ``featurehub`` object."""
    answer = httpx.post(f"{url}/{path}", json=SAMPLED | body | {"stream": stream}, timeout=300)
    assert answer.status_code == 200, answer.text
    lines = [line[6:] for line in answer.text.splitlines() if line.startswith("data: {")]
    chunks = [json.loads(line) for line in lines] if stream else [answer.json()]
    said: dict[int, tuple[str, str]] = {}
    for choice in (each for chunk in chunks for each in chunk["choices"]):
        text, reason = said.get(choice["index"], ("", ""))
        part = choice.get("message") or choice.get("delta") or choice
        said[choice["index"]] = text + (part.get("content", part.get("text")) or ""), choice["finish_reason"] or reason
    return said, next(chunk["featurehub"] for chunk in reversed(chunks) if "featurehub" in chunk)


def same(one: dict[str, Any], other: dict[str, Any]) -> None:
    """The same report. Batches of other sizes round activations otherwise."""
    for count in ("steered_tokens", "aborted"):
        assert one[count] == other[count]
    assert [each["tokens"] for each in one["applied"]] == [each["tokens"] for each in other["applied"]]
    read = [[(each["position"], each["token"], each["sae"]) for each in told["activations"]] for told in (one, other)]
    assert read[0] == read[1]
    assert read[0][0][0] == 0
    assert np.allclose(activations(one), activations(other), atol=1e-3)


def activations(told: dict[str, Any]) -> list[float]:
    return [each["activation"] for token in told["activations"] for each in token["features"]]


def doses(told: dict[str, Any]) -> list[float]:
    return [each["dose"] for each in (*told["applied"], *told["saes"])]


@pytest.mark.parametrize(("keys", "reason"), [(GUARDED, "content_filter"), (STOPPED, "stop")])
@pytest.mark.parametrize("kind", ["chat", "completion", "echo"])
def test_each_answer_is_reported_as_it_would_be_alone(url: str, kind: str, keys: dict[str, Any], reason: str) -> None:
    questions = QUESTIONS[:1] if kind == "chat" else QUESTIONS
    bodies = [asked(kind, question) for question in questions]
    alone = [send(url, path, keys | body | {"seed": SEED + i}, False) for path, body in bodies for i in range(N)]
    path, body = asked(kind, questions[0] if kind == "chat" else questions)
    for stream in (False, True):
        said, told = send(url, path, keys | body | {"seed": SEED, "n": N}, stream)
        assert said == {index: own[0] for index, (own, _) in enumerate(alone)}
        assert [each["index"] for each in told["choices"]] == list(range(len(alone)))
        assert told["steered_tokens"] == sum(each["steered_tokens"] for each in told["choices"])
        assert told["activations"] is None
        for own, (_, twin) in zip(told["choices"], alone, strict=True):
            if kind != "echo" or stream or reason != "stop":  # What an echo ran beyond its stop string is not known.
                same(own, twin)
            if reason != "stop":  # What ran beyond a stop string has a part in the mean.
                assert doses(own) == pytest.approx(doses(twin), abs=1e-3)
    assert reason in {each for own, _ in alone for _, each in own.values()}


def test_a_list_of_chats_too(url: str) -> None:
    chats = [[{"role": "user", "content": question}] for question in QUESTIONS]
    asked = STOPPED | {"temperature": 0.0}
    alone = [send(url, "chat/completions", asked | {"messages": chat}, stream=False) for chat in chats]
    said, told = send(url, "chat/completions/batch", asked | {"messages": chats}, stream=False)
    assert said == {index: own[0] for index, (own, _) in enumerate(alone)}
    for own, (_, twin) in zip(told["choices"], alone, strict=True):
        same(own, twin)


def test_no_answer_takes_its_prompt_from_the_cache_of_another(url: str) -> None:
    """The prompt fills two of the CPU's blocks; every answer reads it itself."""
    prompt = [4 + i % 200 for i in range(300)]
    _, told = send(url, "completions", STOPPED | {"prompt": prompt, "n": N, "max_tokens": 4}, stream=False)
    read = [each | {"activations": each["activations"][: len(prompt)]} for each in told["choices"]]
    for each in read:
        assert len(each["activations"]) == len(prompt)
        assert np.allclose(activations(each), activations(read[0]), atol=1e-3)
        assert each["steered_tokens"] >= len(prompt)
