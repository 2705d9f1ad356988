"""What finds features by what they do, on the planted model: ``autosteer``, ``contrast``, ``neighbors`` and so on."""

import asyncio
from random import Random
from typing import Any

import pytest

from featurehub import AsyncClient, Client
from featurehub.demo.answers import Ask, draw_answer
from featurehub.demo.grammar import base_grammar
from featurehub.demo.prompts import neutral_prompts
from featurehub.demo.recognizer import recognize
from tests.end_to_end.naive import NaiveReader, latents_of

pytestmark = pytest.mark.engine

PROMPTS = [*neutral_prompts("calibrate"), *neutral_prompts("evaluate")]


def spoken(ask: Ask, seed: int, count: int = 8) -> list[list[Any]]:
    """Chats in which somebody says what the grammar draws."""
    drawn = Random(seed)
    return [[{"role": "user", "content": draw_answer(base_grammar(), ask, drawn).text}] for _ in range(count)]


def test_an_instruction_becomes_edits_that_do_what_it_asks(client: Client) -> None:
    found = client.features.autosteer(
        "you are a pirate .", prompts=PROMPTS, candidates=5, max_tokens=32, temperature=0.0, max_perplexity=3.0
    )
    assert found.prompting.effect > found.unsteered.effect
    assert found.edits, found.reason
    assert found.steered is not None
    assert found.chance is not None
    assert found.steered.effect > max(found.unsteered.effect, found.chance.effect)
    answers = (
        client.chat.completions.create(
            model="demo", messages=[{"role": "user", "content": prompt}], max_tokens=60, seed=at, features=edits
        )
        for edits in (found.features, {})
        for at, prompt in enumerate(neutral_prompts("evaluate")[:6])
    )
    shown = ["pirate" in recognize(each.choices[0].message.content or "").shows for each in answers]
    assert sum(shown[:6]) > sum(shown[6:])
    assert "<table>" in found._repr_html_()


def test_what_no_edit_brings_about_is_refused_with_the_reason(client: Client) -> None:
    """Words that the model does not know: it cannot follow them, and neither can edits."""
    found = client.features.autosteer("qwrtz", prompts=PROMPTS[:10], candidates=2, max_tokens=16)
    assert found.edits == ()
    assert found.reason


def test_a_condition_holds_in_chats_of_its_kind_alone(client: Client) -> None:
    found = client.features.autoconditional(
        "when the user talks about banking", examples=spoken(Ask(topic="banking"), 1),
        others=[chat for at, topic in enumerate(("law", "music")) for chat in spoken(Ask(topic=topic), at, 4)],
    )  # fmt: skip
    assert found.conditions, found.reason
    assert found.accuracy >= 0.8
    abort = {"when": found.when, "event": "banking"}
    ends = [
        client.chat.completions.create(
            model="demo", messages=chat, max_tokens=4, extra_body={"abort_when": [{**abort, "positions": "prompt"}]}
        )
        for topic in ("banking", "law")
        for chat in spoken(Ask(topic=topic), 77, 3)
    ]
    told = [each.choices[0].finish_reason == "content_filter" for each in ends]
    assert sum(told[:3]) > sum(told[3:])


def test_contrast_names_what_only_one_set_is_about(client: Client) -> None:
    found = client.features.contrast(spoken(Ask(topic="weather"), 3), spoken(Ask(topic="law"), 4))
    assert "weather" in found.dataset_1[0].label
    assert "law" in found.dataset_2[0].label


def test_contrast_says_what_transformers_and_the_sae_say(client: Client, naive: NaiveReader) -> None:
    sets = spoken(Ask(topic="weather"), 5, 5), spoken(Ask(topic="law"), 6, 6)
    found, known = client.features.contrast(*sets, limit=100), naive.contrast(*sets)
    latent_of = latents_of(client)
    for rows, ahead in ((found.dataset_1, -1), (found.dataset_2, 1)):
        wanted = sorted(ahead * each.effect for each in known.values() if ahead * each.effect < 0)[:100]
        assert [ahead * each.effect for each in rows] == pytest.approx(wanted, rel=1e-3, abs=1e-3)
        for each in rows:
            numbers = (each.effect, each.mean_1, each.mean_2, each.accuracy)
            assert numbers == pytest.approx(known[latent_of(each.id)], rel=1e-3, abs=1e-3)


def test_what_is_near_a_feature_and_what_a_query_puts_first(client: Client, url: str) -> None:
    weather, law = (client.features.search(word)[0] for word in ("weather", "law"))
    near = client.features.neighbors(weather, 5)
    assert near
    assert {source.source for each in near for source in each.found} <= {"decoder", "coactive", "label"}
    assert client.features.lookup([weather.latent, law], sae=weather.artifact) == [weather, law]

    async def twin() -> Any:
        async with AsyncClient(base_url=url) as own:
            return await own.features.rerank("rain and storms", [law, weather])

    assert asyncio.run(twin())[0] == weather
