"""Stored variants and responses on a real server: token for token what the same edits do in a request."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from openai import NotFoundError, OpenAI

from featurehub.demo.prompts import neutral_prompts
from featurehub.sdk.client import Client
from featurehub.sdk.variant import Variant
from featurehub.variants import StoredVariant
from tests.end_to_end.conftest import KEY

pytestmark = pytest.mark.engine

MODEL = "demo"
PROMPT = neutral_prompts("evaluate")[0]
NAME = "rainy"
EDITS: dict[str, Any] = {"weather": 0.8}
ABORT = {"feature": "weather", "value": 0.2, "event": "rain"}


@pytest.fixture(scope="module")
def saved(url: str) -> Iterator[StoredVariant]:
    """Two versions, of which the first is another one than the edits."""
    with Client(base_url=url) as client, pytest.MonkeyPatch.context() as patch:
        patch.setenv("FEATUREHUB_OPERATOR_KEY", KEY)
        client.variants.save(NAME, Variant(MODEL).set("weather", -0.5))
        yield client.variants.save(NAME, Variant(MODEL).set("weather", 0.8))
        client.variants.delete(NAME)


def post(url: str, path: str, **body: Any) -> dict[str, Any]:
    answer = httpx.post(f"{url}/{path}", json={"temperature": 0, **body}, timeout=120)
    assert answer.status_code == 200, answer.text
    return answer.json()


def chat(url: str, model: str = MODEL, **more: Any) -> dict[str, Any]:
    messages = [{"role": "user", "content": PROMPT}]
    return post(url, "chat/completions", model=model, messages=messages, max_tokens=32, return_token_ids=True, **more)


def tokens(answer: dict[str, Any]) -> list[int]:
    return answer["choices"][0]["token_ids"]


def applied(told: dict[str, Any]) -> list[tuple[str, float, float]]:
    return [(each["id"], each["weight"], each["coefficient"]) for each in told["applied"]]


def test_a_variant_answers_as_its_edits_do(url: str, saved: StoredVariant) -> None:
    expected, plain = chat(url, features=EDITS), chat(url)
    assert tokens(expected) != tokens(plain)
    for model in (NAME, saved.address):
        answer = chat(url, model)
        assert tokens(answer) == tokens(expected)
        assert applied(answer["featurehub"]) == applied(expected["featurehub"])
        assert answer["featurehub"]["variant"] == {"name": NAME, "version": 2}
    assert tokens(chat(url, f"{NAME}@1")) == tokens(chat(url, features={"weather": -0.5}))
    # The request's own edit of a feature wins.
    assert tokens(chat(url, NAME, features={"weather": 0})) == tokens(plain)
    assert tokens(chat(url, NAME, features=EDITS)) == tokens(expected)


def test_completions_take_one_too(url: str, saved: StoredVariant) -> None:
    body = {"prompt": "the", "max_tokens": 16, "return_token_ids": True}
    expected = post(url, "completions", model=MODEL, features=EDITS, **body)
    assert tokens(post(url, "completions", model=NAME, **body)) == tokens(expected)


def test_streams_take_one_too(client: Client, url: str, saved: StoredVariant) -> None:
    messages: Any = [{"role": "user", "content": PROMPT}]
    options: dict[str, Any] = {"messages": messages, "max_tokens": 32, "temperature": 0, "stream": True}
    whole = chat(url, features=EDITS)["choices"][0]["message"]["content"]
    chunks: Any = list(client.chat.completions.create(model=saved, **options))
    assert "".join(each.choices[0].delta.content or "" for each in chunks if each.choices) == whole
    assert chunks[-1].featurehub["variant"] == {"name": NAME, "version": 2}


def test_a_server_lists_it_and_knows_no_other(client: Client, saved: StoredVariant) -> None:
    [card] = [each for each in client.models.list() if each.id == NAME]
    assert (card.root, card.parent) == (MODEL, MODEL)  # type: ignore[attr-defined]
    assert client.variants.load(NAME) == Variant(MODEL).set("weather", 0.8)
    for unknown in ("rain", f"{NAME}@3", "org/rainy"):
        with pytest.raises(NotFoundError) as caught:
            client.chat.completions.create(model=unknown, messages=[{"role": "user", "content": PROMPT}])
        assert caught.value.param == "model"


@pytest.fixture
def openai(url: str) -> Iterator[OpenAI]:
    with OpenAI(base_url=url, api_key="none", max_retries=0) as client:
        yield client


def respond(client: OpenAI, model: str = MODEL, stream: bool = False, **ours: Any) -> Any:
    return client.responses.create(
        model=model, input=PROMPT, max_output_tokens=32, temperature=0, stream=stream, extra_body=ours
    )


def test_responses_are_steered_as_chats_are(openai: OpenAI, url: str, saved: StoredVariant) -> None:
    expected = chat(url, features=EDITS)
    for answer in (respond(openai, features=EDITS), respond(openai, NAME)):
        assert answer.output_text.strip() == expected["choices"][0]["message"]["content"].strip()
        assert applied(answer.featurehub) == applied(expected["featurehub"])
    assert respond(openai, features={"weather": 0}).output_text == respond(openai).output_text


def test_so_are_streamed_ones(openai: OpenAI, saved: StoredVariant) -> None:
    whole = respond(openai, features=EDITS, return_activations={"top_k": 2})
    events = list(respond(openai, NAME, stream=True, return_activations={"top_k": 2}))
    text = "".join(each.delta for each in events if each.type == "response.output_text.delta")
    assert text == whole.output_text
    assert events[-1].type == "response.completed"
    told = events[-1].response.featurehub
    assert told["variant"] == {"name": NAME, "version": 2}
    assert {**told, "variant": None} == whole.featurehub
    assert len(told["activations"]) == whole.usage.input_tokens + whole.usage.output_tokens - 1
    asked: Any = {"model": NAME, "input": PROMPT, "max_output_tokens": 32, "temperature": 0}
    with openai.responses.stream(**asked) as stream:
        final: Any = stream.get_final_response()
    assert (final.output_text, applied(final.featurehub)) == (text, applied(told))


def test_an_abort_ends_a_response(openai: OpenAI) -> None:
    whole = respond(openai, features=EDITS, abort_when=[ABORT])
    assert (whole.status, whole.incomplete_details.reason) == ("incomplete", "content_filter")
    assert whole.featurehub["aborted"]["event"] == "rain"
    *_, last = respond(openai, features=EDITS, abort_when=[ABORT], stream=True)
    assert last.response.incomplete_details.reason == "content_filter"
    assert last.response.output_text == whole.output_text
