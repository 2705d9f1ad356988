"""Goodfire's own client, unmodified and in an environment of its own, against our server."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.end_to_end.environments import python_with
from tests.end_to_end.naive import NaiveReader

pytestmark = pytest.mark.engine

# The client asks for three packages that it never imports, and which would take most of the time.
PACKAGES = ("httpx==0.27.2", "numpy", "pydantic>=2.9.2,<3")
SCRIPT = Path(__file__).with_name("goodfire_calls.py")
SYSTEM = (
    "You are a helpful assistant who should follow the users requests. Be brief and to the point, but also be friendly "
    "and engaging."
)
PROMPT = "please tell me something about the weather ."
INDEX = 16
ANSWER = "the storm brings rain and the wind blows over the valley ."


def chats(*texts: str) -> list[list[dict[str, str]]]:
    return [[{"role": "user", "content": "tell me something ."}, {"role": "assistant", "content": x}] for x in texts]


BANKS = chats("the banker counts the coin at the vault .", "the cashier deposits the cheque .") * 2
STORMS = chats("the storm brings rain .", "the cloud covers the sky and the wind blows .") * 2


@pytest.fixture(scope="module")
def python() -> Path:
    """The Python of the client's environment."""
    return python_with(PACKAGES, alone=("goodfire==0.3.5",))


@pytest.fixture(scope="module")
def said(python: Path, url: str) -> dict[str, Any]:
    """What the client's calls returned."""
    asked = {
        "prompt": PROMPT, "answer": ANSWER, "set_1": BANKS, "set_2": STORMS, "index": INDEX,
        "specification": "cooking", "condition": "weather",
    }  # fmt: skip
    command = [python, SCRIPT, url.removesuffix("/v1"), "demo"]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(command, input=json.dumps(asked), capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr[-4000:]
    return json.loads(done.stdout)


def ours(url: str, **body: Any) -> dict[str, Any]:
    """The answer to a request of our own."""
    asked = {"model": "demo", "messages": [{"role": "user", "content": PROMPT}], "temperature": 0, "top_p": 0.9}
    asked |= {"max_completion_tokens": 24}
    answer = httpx.post(f"{url}/chat/completions", json=asked | body, timeout=120)
    assert answer.status_code == 200, answer.text
    return answer.json()


def text(answer: dict[str, Any]) -> str:
    return answer["choices"][0]["message"]["content"]


def largest(url: str) -> dict[int, float]:
    """The largest activation of each feature, by latent."""
    pages = [httpx.get(f"{url}/features", params={"limit": 100}).json()]
    while after := pages[-1]["next"]:
        pages.append(httpx.get(f"{url}/features", params={"limit": 100, "after": after}).json())
    return {each["latent"]: each["max_activation"] for page in pages for each in page["data"]}


def id_of(url: str, query: str) -> str:
    return httpx.get(f"{url}/features", params={"q": query}).json()["data"][0]["id"]


def test_search_and_lookup_find_what_ours_does(said: dict[str, Any], url: str) -> None:
    found = said["search"]
    native = httpx.get(f"{url}/features", params={"q": "weather", "limit": 3}).json()["data"]
    assert [(each["label"], each["index"]) for each in found["found"]] == [(e["label"], e["latent"]) for e in native]
    assert found["looked"] == found["found"]
    assert found["keys"] == [each["latent"] for each in native]


def test_rerank_and_neighbors_are_ours(said: dict[str, Any], url: str) -> None:
    found = said["search"]
    cooking = id_of(url, "cooking")
    body = {"features": [cooking, id_of(url, "weather")], "query": "cooking"}
    best = httpx.post(f"{url}/features/rerank", json=body).json()["data"][0]
    assert best["id"] == cooking
    assert (len(found["ranked"]), found["ranked"][0]["label"]) == (4, best["label"])
    assert len(said["asynchronous"]["similarities"]) == 6
    near = httpx.post(f"{url}/features/neighbors", json={"features": [id_of(url, "weather")], "limit": 5}).json()
    assert [each["label"] for each in found["near"]] == [each["label"] for each in near["data"]]


def test_a_variant_answers_as_our_own_request_does_token_for_token(said: dict[str, Any], url: str) -> None:
    found = said["chat"]
    features = {id_of(url, "weather"): 0.7}
    steered = text(ours(url, features=features))
    assert found["steered"] == found["streamed"] == found["loaded"] == steered
    assert found["plain"] == found["empty"] == text(ours(url))
    assert found["plain"] != steered
    assert said["asynchronous"]["steered"] == said["asynchronous"]["streamed"] == steered
    messages = [{"role": "system", "content": SYSTEM}, {"role": "user", "content": PROMPT}]
    options = {"temperature": 0.6, "seed": 42, "stop": ["."], "max_completion_tokens": 512}
    drawn = ours(url, features=features, messages=messages, **options)
    assert found["by_default"] == text(drawn)


def test_conditions_hold_where_ours_hold(said: dict[str, Any], url: str) -> None:
    weather, cooking = id_of(url, "weather"), id_of(url, "cooking")
    when = {"feature": weather, "op": ">", "value": 0.2}
    conditional = ours(url, features={cooking: {"weight": 0.7, "when": when}})
    assert said["conditions"]["when"] == text(conditional)
    assert said["conditions"]["never"] == said["chat"]["plain"]
    assert said["conditions"]["when"] != said["chat"]["plain"]


def test_aborts_raise_and_handlers_hear_what_was_said(said: dict[str, Any]) -> None:
    found = said["aborts"]
    assert found["whole"][0] == found["streamed"][0] == "InferenceAbortedException"
    assert found["finish"] == "content_filter"
    assert found["pieces"] == found["answer"]
    assert found["handled"] == 1
    assert found["heard"][0] == found["answer"]
    # The client itself calls a handler twice for one event of a stream, before it takes the event's text.
    assert len(found["heard"]) == 3
    assert all(found["answer"].startswith(each) for each in found["heard"])


def test_inspected_tokens_are_shares_of_what_the_sae_says(said: dict[str, Any], url: str, naive: NaiveReader) -> None:
    found = said["reading"]
    root = url.removesuffix("/v1")
    chat = [{"role": "user", "content": PROMPT}, {"role": "assistant", "content": ANSWER}]
    body = {"model": "demo", "messages": chat, "add_generation_prompt": False, "add_special_tokens": False}
    ids = httpx.post(f"{root}/tokenize", json=body).json()["tokens"]
    tops = largest(url)
    assert len(found["tokens"]) == len(ids)
    assert said["asynchronous"]["tokenized"] == found["tokens"]
    for own, row in zip(found["matrix"], naive.activations(ids), strict=True):
        wanted = {str(at): float(row[at]) / top for at, top in tops.items() if row[at] > 0}
        assert own == pytest.approx(wanted, rel=1e-3, abs=1e-3)
    weather = str(said["search"]["found"][0]["index"])
    assert found["chosen"] == [{at: value for at, value in row.items() if at == weather} for row in found["matrix"]]
    # What is read is the stream that reaches the hook point, before edits there.
    assert found["steered"] == found["matrix"]
    assert found["token"] == sorted(found["token"], key=lambda each: -each[1])
    assert all(value == found["matrix"][-3][str(at)] for at, value in found["token"])
    for top in (found["top"], found["means"]):
        assert len(top) == 5


def test_contrast_finds_what_ours_does(said: dict[str, Any], url: str) -> None:
    body = {"dataset_1": BANKS, "dataset_2": STORMS, "limit": 5}
    native = httpx.post(f"{url}/features/contrast", json=body, timeout=120).json()
    for rows, side in zip(said["reading"]["contrast"], ("dataset_1", "dataset_2"), strict=True):
        assert [each["label"] for each in rows] == [each["label"] for each in native[side]]
        assert rows


def test_logits_and_attribution_are_ours(said: dict[str, Any], url: str) -> None:
    found = said["next_tokens"]
    messages = [{"role": "user", "content": PROMPT}]
    body = {"messages": messages, "top_k": 5, "tokens": [" rain", " the", " cook"]}
    body |= {"features": {id_of(url, "weather"): 0.7}}
    native = httpx.post(f"{url}/features/logits", json=body, timeout=120).json()
    plain, steered = ({t["text"]: t["logprob"] for t in native[key]} for key in ("unsteered", "tokens"))
    assert found["plain"] == pytest.approx({text: plain[text] for text in found["plain"]})
    assert found["steered"] == pytest.approx({text: steered[text] for text in found["steered"]})
    assert [len(found[key]) for key in ("plain", "steered", "chosen")] == [5, 5, 2]
    chosen = sorted((text for text in body["tokens"]), key=lambda text: -plain[text])[:2]
    assert found["chosen"] == pytest.approx({text: plain[text] for text in chosen})
    chat = {"messages": [*messages, {"role": "assistant", "content": ANSWER}], "position": INDEX, "candidates": 24}
    ours = httpx.post(f"{url}/features/attribute", json=chat | {"limit": 12, "tokens": 2}, timeout=120).json()
    effects = sorted((each["effect"] for each in ours["features"] if each["id"].startswith("f_")), reverse=True)
    assert [value for _, value in found["effects"]] == pytest.approx(effects)
    assert found["before"] == INDEX
    assert all(0 < at < INDEX and share > 0 for each in found["active"] for at, share in each)


def test_specifications_become_chats_conditions_and_edits(said: dict[str, Any]) -> None:
    found = said["specifications"]
    for chats in (found["plain"], found["told"]):
        assert [[each["role"] for each in chat] for chat in chats] == [["user", "assistant"]] * 6
        assert not any("<" in chat[1]["content"] for chat in chats)
    assert found["plain"] != found["told"]
    assert found["condition"]
    assert all(operator == ">" and 0 <= value <= 1 for _, operator, value in found["condition"])
    assert found["join"] == "OR"
    assert found["aborted"][0] == "InferenceAbortedException"
    # Edits that do not beat chance are an error, never an empty answer.
    assert bool(found["edits"]) != bool(found["none"])
    assert found["none"][:1] in ([], ["NotFoundException"])


def test_errors_are_the_clients_own(said: dict[str, Any]) -> None:
    kinds = {name: error[0] for name, error in said["errors"].items()}
    assert kinds == {
        "model": "NotFoundException", "search": "NotFoundException", "feature": "NotFoundException",
        "lookup": "NotFoundException", "value": "InvalidRequestException", "operator": "InvalidRequestException",
        "streamed": "InvalidRequestException",
    }  # fmt: skip
    assert "must lie in [-1.0, 1.0]" in said["errors"]["value"][1]
