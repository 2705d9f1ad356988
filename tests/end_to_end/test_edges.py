"""What a real server does at its edges: several answers in one request, clients that leave, guards of one name."""

import asyncio
import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from featurehub.demo.prompts import neutral_prompts
from featurehub.sdk.client import AsyncClient, Client
from featurehub.sdk.variant import Variant
from tests.end_to_end.conftest import PREFIX

pytestmark = pytest.mark.engine

PROMPTS = neutral_prompts("evaluate")
WEATHER = "please tell me about the weather ."
STEERED: dict[str, Any] = {"model": "demo", "temperature": 0, "max_tokens": 16, "features": {"weather": 0.8}}
READING: dict[str, Any] = {"model": "demo", "temperature": 0, "max_tokens": 16, "return_activations": {"top_k": 5}}


def ask(url: str, prompt: Any, status: int = 200, **body: Any) -> Any:
    answer = httpx.post(f"{url}/completions", json={"prompt": prompt} | body, timeout=120)
    assert answer.status_code == status, answer.text
    return answer.json()


def chat(url: str, **body: Any) -> Any:
    asked = {"model": "demo", "temperature": 0, "messages": [{"role": "user", "content": WEATHER}]} | body
    answer = httpx.post(f"{url}/chat/completions", json=asked, timeout=120)
    assert answer.status_code == 200, answer.text
    return answer.json()


def events(url: str, prompt: Any, **body: Any) -> list[Any]:
    text = httpx.post(f"{url}/completions", json={"prompt": prompt, "stream": True} | body, timeout=120).text
    data = [event.removeprefix("data: ") for event in text.split("\n\n") if event]
    assert data.pop() == "[DONE]"
    return [json.loads(each) for each in data]


def ids(url: str, text: str) -> list[int]:
    root = url.removesuffix("/v1")
    return httpx.post(f"{root}/tokenize", json={"model": "demo", "prompt": text}).json()["tokens"]


@pytest.mark.parametrize("as_ids", [False, True])
def test_a_list_of_prompts_is_steered_prompt_by_prompt(url: str, as_ids: bool) -> None:
    prompts: list[Any] = [ids(url, each) for each in PROMPTS[:3]] if as_ids else PROMPTS[:3]
    together = ask(url, prompts, **STEERED)
    alone = [ask(url, prompt, **STEERED) for prompt in prompts]
    assert [each["text"] for each in together["choices"]] == [each["choices"][0]["text"] for each in alone]
    counted = sum(each["featurehub"]["steered_tokens"] for each in alone)
    assert together["featurehub"]["steered_tokens"] == counted
    assert together["featurehub"]["applied"][0]["tokens"] == counted
    assert events(url, prompts, **STEERED)[-1]["featurehub"] == together["featurehub"]


def test_several_answers_to_one_prompt_are_all_counted(url: str) -> None:
    drawn = STEERED | {"n": 3, "temperature": 0.7, "seed": 5, "ignore_eos": True, "prompt_logprobs": 1}
    answer = ask(url, PROMPTS[0], **drawn)
    tokens = answer["usage"]
    computed = 3 * tokens["prompt_tokens"] + tokens["completion_tokens"] - 3
    cached = computed - answer["featurehub"]["steered_tokens"]
    assert len(answer["choices"]) == 3
    assert cached >= 0
    assert cached % 32 == 0


def test_what_cannot_be_steered_is_refused(url: str) -> None:
    for stream in (False, True):
        asked = STEERED | {"model": "demo", "stream": stream, "use_beam_search": True}
        assert ask(url, PROMPTS[0], 400, **asked)["error"]["param"] == "use_beam_search"


def test_activations_are_of_every_token_and_their_texts_join(url: str) -> None:
    answer = ask(url, WEATHER, **READING, return_token_ids=True)
    read = answer["featurehub"]["activations"]
    choice = answer["choices"][0]
    computed = choice["prompt_token_ids"] + choice["token_ids"][:-1]
    assert [token["position"] for token in read] == list(range(len(computed)))
    root = url.removesuffix("/v1")
    text = httpx.post(f"{root}/detokenize", json={"model": "demo", "tokens": computed}).json()["prompt"]
    assert "".join(token["token"] for token in read) == text
    assert " weather" in [token["token"] for token in read]
    assert events(url, WEATHER, **READING)[-1]["featurehub"] == answer["featurehub"]


def test_echoed_prompts_with_their_logprobs_come_beside_edits_and_activations(url: str) -> None:
    asked = STEERED | READING | {"echo": True, "logprobs": 1}
    first, again = (ask(url, WEATHER, **asked) for _ in range(2))
    assert first["choices"] == again["choices"]
    assert first["featurehub"] == again["featurehub"]
    assert first["featurehub"]["steered_tokens"] == len(first["featurehub"]["activations"])
    plain = ask(url, WEATHER, **READING | {"echo": True, "logprobs": 1})
    assert plain["choices"][0]["logprobs"] != first["choices"][0]["logprobs"]


@pytest.mark.parametrize("first", [True, False])
def test_of_two_guards_with_one_name_the_answer_names_the_one_that_fired(url: str, first: bool) -> None:
    listed = httpx.get(f"{url}/features", params={"limit": 100}).json()["data"]
    other = next(each["id"] for each in listed if each["label"] and "weather" not in each["label"])
    common = {"positions": "all", "event": "unsafe"}
    guards = [common | {"feature": "weather", "value": 0.2}, common | {"feature": other, "value": 1.0}]
    answer = chat(url, abort_when=guards if first else guards[::-1])
    assert answer["choices"][0]["finish_reason"] == "content_filter"
    assert (answer["featurehub"]["aborted"]["event"], answer["featurehub"]["aborted"]["feature"]) == (
        "unsafe",
        "weather",
    )


def test_clients_that_leave_in_the_middle_leave_nothing_behind(url: str) -> None:
    """Streams that end after a chunk or two, many at once; then answers are as they were before."""
    steered = chat(url, features={"weather": 0.8}, max_tokens=32)
    read = ask(url, WEATHER, **READING)

    def leave(i: int) -> None:
        kind = ({"features": {"weather": 0.9}}, {"return_activations": {"top_k": 20}}, {})[i % 3]
        body = {"model": "demo", "prompt": PROMPTS[i % len(PROMPTS)], "max_tokens": 300, "ignore_eos": True} | kind
        with httpx.stream("POST", f"{url}/completions", json=body | {"stream": True}, timeout=120) as answer:
            for _, _line in zip(range(1 + i % 3), answer.iter_lines(), strict=False):
                pass

    with ThreadPoolExecutor(24) as pool:
        list(pool.map(leave, range(120)))
    assert httpx.get(f"{url.removesuffix('/v1')}/healthz").json()["status"] == "ok"
    assert chat(url, features={"weather": 0.8}, max_tokens=32)["featurehub"] == steered["featurehub"]
    assert ask(url, WEATHER, **READING)["featurehub"] == read["featurehub"]


def test_a_prefix_that_a_proxy_keeps_is_part_of_no_route(url: str) -> None:
    prefixed = url.removesuffix("/v1") + PREFIX
    plain, steered = chat(url, max_tokens=24), chat(url, features={"weather": 0.8}, max_tokens=24)
    assert chat(f"{prefixed}/v1", max_tokens=24)["choices"] == plain["choices"]
    again = chat(f"{prefixed}/v1", features={"weather": 0.8}, max_tokens=24)
    assert (again["choices"], again["featurehub"]) == (steered["choices"], steered["featurehub"])
    refused = httpx.post(f"{prefixed}/v1/messages", json={"model": "demo", "features": {"weather": 0.8}})
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, "features")
    with Client(base_url=prefixed) as behind, Client(base_url=url) as direct:
        assert behind.features.search("weather")[0] == direct.features.search("weather")[0]


@pytest.mark.parametrize("options", [{}, {"stream_options": {"include_usage": True}}])
def test_the_parts_of_a_stream_put_together_say_what_was_applied(url: str, options: dict[str, Any]) -> None:
    variant = Variant("demo").set("weather", 0.8)
    asked: Any = {"model": variant, "messages": [{"role": "user", "content": WEATHER}], "temperature": 0}
    asked |= {"max_tokens": 24, "stop": ["."]}

    async def awaited() -> Any:
        async with AsyncClient(base_url=url) as client, client.chat.completions.stream(**asked, **options) as events:
            return await events.get_final_completion()

    with Client(base_url=url) as client:
        whole: Any = client.chat.completions.create(**asked)
        with client.chat.completions.stream(**asked, **options) as events:
            finals: list[Any] = [events.get_final_completion(), asyncio.run(awaited())]
    for final in finals:
        assert final.choices[0].message.content == whole.choices[0].message.content
        assert without_doses(final.featurehub) == without_doses(whole.featurehub)


def without_doses(told: dict[str, Any]) -> dict[str, Any]:
    """Doses are means over all tokens that were computed, and the engine goes on until it hears of a stop string."""
    rows = {
        name: [{k: v for k, v in each.items() if k != "dose"} for each in told[name]] for name in ("applied", "saes")
    }
    return told | rows


def test_a_batch_of_chats_is_steered_chat_by_chat(url: str) -> None:
    asked = {"model": "demo", "temperature": 0, "max_tokens": 16, "features": {"weather": 0.8}}
    chats = [[{"role": "user", "content": each}] for each in PROMPTS[:3]]
    answer = httpx.post(f"{url}/chat/completions/batch", json=asked | {"messages": chats}, timeout=120)
    assert answer.status_code == 200, answer.text
    alone = [chat(url, **asked | {"messages": each}) for each in chats]
    together = answer.json()
    assert [each["message"] for each in together["choices"]] == [each["choices"][0]["message"] for each in alone]
    counted = sum(each["featurehub"]["steered_tokens"] for each in alone)
    assert together["featurehub"]["steered_tokens"] == counted
    read = httpx.post(f"{url}/chat/completions/batch", json=asked | READING | {"messages": chats}).json()["featurehub"]
    alone = [chat(url, **asked | READING | {"messages": each})["featurehub"] for each in chats]
    assert [len(each["activations"]) for each in read["choices"]] == [len(each["activations"]) for each in alone]
