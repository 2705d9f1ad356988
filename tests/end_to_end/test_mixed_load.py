"""Plain, steered and ablated requests in one batch, with several answers, stops, logprobs and clients that leave."""

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from featurehub.demo.prompts import neutral_prompts

pytestmark = pytest.mark.engine

CROWD, LEAVING = 24, 60
PROMPTS = neutral_prompts("evaluate")
KINDS: tuple[dict[str, Any], ...] = (
    {},
    {"features": {"weather": 0.7}, "n": 3, "logprobs": 5, "stop": ["."]},
    {"features": {"weather": {"mode": "ablate"}}},
)


def body(i: int) -> dict[str, Any]:
    common = {"model": "demo", "temperature": 0.7, "seed": i, "max_tokens": 30, "return_token_ids": True}
    return common | KINDS[i % 3] | {"prompt": PROMPTS[i // 3 % len(PROMPTS)]}


def ask(url: str, i: int) -> Any:
    answer = httpx.post(f"{url}/completions", json=body(i), timeout=120)
    assert answer.status_code == 200, answer.text
    return answer.json()


def leave(url: str, i: int) -> None:
    """A stream that its client closes after two chunks, each of which is two lines."""
    with httpx.stream("POST", f"{url}/completions", json=body(i) | {"stream": True}, timeout=120) as answer:
        assert answer.status_code == 200
        list(zip(range(4), answer.iter_lines(), strict=False))


def ids(answer: Any) -> list[list[int]]:
    return [choice["token_ids"] for choice in answer["choices"]]


def computed(answer: Any) -> int:
    """Each answer computes the prompt, which is too short to be cached, and all of its own tokens but the last."""
    usage, n = answer["usage"], len(answer["choices"])
    return n * usage["prompt_tokens"] + usage["completion_tokens"] - n


def test_every_token_of_a_mixed_batch_is_steered_as_alone_while_others_leave(url: str) -> None:
    alone = [ask(url, i) for i in range(CROWD)]
    with ThreadPoolExecutor(2 * CROWD) as pool:
        leaving = [pool.submit(leave, url, i) for i in range(LEAVING)]
        together = list(pool.map(lambda i: ask(url, i), range(CROWD)))
        for each in leaving:
            each.result()
    for i, answer in enumerate([*alone, *together]):
        if i % 3:
            assert answer["featurehub"]["applied"][0]["tokens"] == computed(answer)
        else:
            assert "featurehub" not in answer
    # Other batch shapes round differently, and a tie may then fall the other way.
    assert sum(ids(one) == ids(other) for one, other in zip(alone, together, strict=True)) >= CROWD - 1
    assert ids(alone[1]) != ids(alone[0])
    assert httpx.get(f"{url.removesuffix('/v1')}/healthz").json()["status"] == "ok"
    assert ids(ask(url, 1)) == ids(alone[1])


def test_what_the_engine_computes_after_a_stop_string_is_no_part_of_the_answer(url: str) -> None:
    """vLLM looks for stop strings outside the engine, which computes a token or two more until it hears of one."""
    asked = {"model": "demo", "prompt": PROMPTS[1], "temperature": 0, "max_tokens": 60, "stop": ["a"]}
    asked |= {"features": {"weather": 0.7}, "return_activations": {"top_k": 2}}
    whole = httpx.post(f"{url}/completions", json=asked, timeout=120).json()
    assert whole["choices"][0]["finish_reason"] == "stop"
    assert whole["featurehub"]["applied"][0]["tokens"] == computed(whole)
    assert len(whole["featurehub"]["activations"]) == computed(whole)
    lines = httpx.post(f"{url}/completions", json=asked | {"stream": True}, timeout=120).text.split("\n\n")
    last = json.loads(lines[-3].removeprefix("data: "))
    assert "usage" not in last
    assert {**last["featurehub"], "applied": []} == {**whole["featurehub"], "applied": []}
