"""Named features through HTTP: the real server, openai's client, the SDK, and what happens to bad input."""

import json
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any

import httpx
import pytest
from openai import BadRequestError, NotFoundError, OpenAI

from featurehub.demo.prompts import neutral_prompts
from featurehub.demo.recognizer import recognize
from featurehub.sdk.client import Client
from featurehub.sdk.variant import Variant
from featurehub.store import open_store

pytestmark = pytest.mark.engine

MODEL = "demo"
PROMPTS = neutral_prompts("evaluate")


def ask(client: OpenAI, prompt: str = PROMPTS[0], model: Any = MODEL, **options: Any) -> Any:
    messages = [{"role": "user", "content": prompt}]
    return client.chat.completions.create(model=model, messages=messages, max_tokens=64, **options)


def text(answer: Any) -> str:
    return answer.choices[0].message.content


def answers_about(concept: str, client: Client, model: Any = MODEL) -> int:
    """How many of the answers to prompts that ask for nothing show a concept."""
    answers = (text(ask(client, prompt, model, temperature=0.7, seed=i)) for i, prompt in enumerate(PROMPTS))
    return sum(concept in recognize(each).shows for each in answers)


def test_a_name_found_through_search_steers(client: Client) -> None:
    feature = client.features.search("weather")[0]
    assert "weather" in feature.label
    variant = Variant(MODEL).set(feature, 1.0)
    unsteered = answers_about("weather", client)
    assert unsteered <= 2
    assert answers_about("weather", client, variant) >= unsteered + 3


def test_a_group_of_its_features_steers_by_one_name(client: Client, built: Any) -> None:
    first, second = client.features.search("weather")[:2]
    with closing(open_store(built.database)) as store, store.write() as writer:
        writer.put_group("any weather", {first.id: 0.7, second.id: 0.5})
    try:
        variant = Variant(MODEL).set("any weather", 1.0)
        applied = ask(client, model=variant, temperature=0).featurehub["applied"]
        assert [each["group"] for each in applied] == ["any weather"] * 2
        assert answers_about("weather", client, variant) >= answers_about("weather", client) + 3
    finally:
        with closing(open_store(built.database)) as store, store.write() as writer:
            writer.remove_group("any weather")


def test_plain_openai_clients_steer_with_extra_body(url: str) -> None:
    client = OpenAI(base_url=url, api_key="none")
    answer = ask(client, temperature=0, extra_body={"features": {"weather": 0.8}})
    applied = answer.featurehub["applied"][0]
    assert applied["weight"] == 0.8
    assert applied["dose"] > 0.1
    assert applied["state"] == "fresh"
    assert answer.featurehub["steered_tokens"] > answer.usage.prompt_tokens
    assert text(answer) != text(ask(client, temperature=0))


def test_streaming_ends_with_what_was_applied(client: Client) -> None:
    whole = ask(client, features={"weather": 0.8}, temperature=0)
    chunks = list(ask(client, features={"weather": 0.8}, temperature=0, stream=True))
    streamed = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert streamed == text(whole)
    assert chunks[-1].featurehub["applied"][0]["label"] == whole.featurehub["applied"][0]["label"]


def test_completions_take_features_too(client: Client) -> None:
    steered = client.completions.create(
        model=MODEL, prompt="the", max_tokens=16, temperature=0, extra_body={"features": {"weather": 1.0}}
    )
    assert steered.featurehub["steered_tokens"] > 0  # type: ignore[attr-defined]


def test_weight_zero_is_byte_identical(client: Client) -> None:
    zero = ask(client, features={"weather": 0}, temperature=0)
    assert text(zero) == text(ask(client, temperature=0))
    assert zero.featurehub["applied"][0]["coefficient"] == 0


def test_an_answer_after_a_steered_one_is_not_contaminated(client: Client) -> None:
    """The same long prompt, again and again: the second time its blocks come from the cache."""
    prompt = " ".join([PROMPTS[0]] * 40)
    plain = text(ask(client, prompt, temperature=0))
    steered = text(ask(client, prompt, features={"weather": 1.0}, temperature=0))
    assert steered != plain
    for _ in range(2):
        assert text(ask(client, prompt, temperature=0)) == plain
        assert text(ask(client, prompt, features={"weather": 1.0}, temperature=0)) == steered


def test_an_answer_says_which_features_made_it(client: Client) -> None:
    answer = ask(client, "please tell me about the weather .", temperature=0, return_activations=5)
    seen = {
        feature["label"].split(":")[0] for token in answer.featurehub["activations"] for feature in token["features"]
    }
    assert any("weather" in label for label in seen)


def test_unknown_names_get_the_closest(client: Client) -> None:
    with pytest.raises(NotFoundError, match="weather"):
        ask(client, features={"wether": 0.5})


@pytest.mark.parametrize(
    "features",
    [{"weather": 7}, {"weather": "much"}, {"weather": {"mode": "shout", "weight": 1}}, [1, 2], {"weather": None}],
)
def test_bad_weights_are_refused(url: str, features: Any) -> None:
    """By the server too: openai's client checks nothing itself."""
    client = OpenAI(base_url=url, api_key="none", max_retries=0)
    with pytest.raises(BadRequestError) as refused:
        ask(client, extra_body={"features": features})
    assert refused.value.type
    assert "weather" in refused.value.message or "features" in refused.value.message
    assert text(ask(client, temperature=0))


@pytest.mark.parametrize(
    "body",
    [
        b"this is not json",
        b'{"model": "demo", "messages": [{"role": "user", "content": "x"}], "features": {"weather": NaN}}',
        json.dumps({"model": MODEL, "messages": [], "features": {f"f{i}": 0.1 for i in range(1000)}}).encode(),
    ],
    ids=["not JSON", "NaN", "1000 edits"],
)
def test_bad_bodies_get_a_client_error_in_openais_shape(url: str, client: Client, body: bytes) -> None:
    answer = httpx.post(f"{url}/chat/completions", content=body, headers={"content-type": "application/json"})
    assert 400 <= answer.status_code < 500
    assert {"message", "type", "param", "code"} <= answer.json()["error"].keys()
    assert text(ask(client, temperature=0))


def test_many_configurations_at_once_do_not_mix(client: Client) -> None:
    """Neighbors differ in feature and weight, so that an answer by another row than its own is seen."""
    found = sorted(client.features.list(), key=lambda each: -(each.label_score or 0.0))
    features = [each.id for each in found if each.strength is not None][:8]
    edits = [{features[i % len(features)]: 0.4 + 0.1 * (i // len(features))} for i in range(40)]

    def one(edit: dict[str, float]) -> tuple[str, float]:
        answer = ask(client, features=edit, temperature=0)
        return text(answer), answer.featurehub["applied"][0]["dose"]

    with ThreadPoolExecutor(len(edits)) as pool:
        together = list(pool.map(one, edits))
    alone = [one(edit) for edit in edits]
    # Other batch shapes round differently, and a tie may then fall the other way.
    assert sum(map(same, together, alone)) >= len(edits) - 3
    assert sum(map(same, together, alone[1:] + alone[:1])) <= 3


def same(one: tuple[str, float], other: tuple[str, float]) -> bool:
    return one[0] == other[0] and one[1] == pytest.approx(other[1], rel=1e-3)
