"""Functions that a variant calls when an abort ends an answer: once, however the answer is read."""

import asyncio
from typing import Any

import pytest
from openai import ContentFilterFinishReasonError

from featurehub import AsyncClient, Client, InvalidInput, Variant
from featurehub.conditions import FeatureCondition
from featurehub.sdk.handling import EndedAnswer
from tests.api.reports import HOOK, report, several
from tests.sdk.conftest import Running

FORMAL = FeatureCondition(feature="formal tone", value=0.5)
DECIDED = {"seen_tokens": 9, "expected_tokens": 9}
CHAT: Any = [{"role": "user", "content": "one two three"}]


@pytest.fixture
def seen() -> list[EndedAnswer]:
    return []


@pytest.fixture
def variant(server: Running, seen: list[EndedAnswer]) -> Variant:
    aborted = {"event": "too formal", "index": 0, "position": 3}
    server.engine.default = report(7, conditions={HOOK: DECIDED}, aborts=DECIDED, aborted=aborted)
    return Variant("demo").handle_when(FORMAL, seen.append, "too formal")


def ended(seen: list[EndedAnswer]) -> tuple[str, int, str]:
    [answer] = seen
    assert answer.feature
    seen.clear()
    return answer.event, answer.position, answer.text.strip()


def test_it_is_called_once_for_each_way_to_read_an_answer(
    client: Client, variant: Variant, seen: list[EndedAnswer]
) -> None:
    expected = ("too formal", 3, "one two three")
    client.chat.completions.create(model=variant, messages=CHAT)
    assert ended(seen) == expected
    for _ in client.chat.completions.create(model=variant, messages=CHAT, stream=True):
        pass
    assert ended(seen) == expected
    refused = pytest.raises(ContentFilterFinishReasonError)
    with client.chat.completions.stream(model=variant, messages=CHAT) as stream, refused:
        stream.get_final_completion()
    assert ended(seen) == expected
    client.completions.create(model=variant, prompt="one two three")
    assert ended(seen) == expected
    client.responses.create(model=variant, input="one two three")
    assert ended(seen)[:2] == expected[:2]


def test_it_is_called_in_asyncio_too(server: Running, variant: Variant, seen: list[EndedAnswer]) -> None:
    async def both() -> None:
        async with AsyncClient(base_url=f"{server.url}/v1", api_key="none", max_retries=0) as client:
            await client.chat.completions.create(model=variant, messages=CHAT)
            assert ended(seen)[0] == "too formal"
            async for _ in await client.chat.completions.create(model=variant, messages=CHAT, stream=True):
                pass

    asyncio.run(both())
    assert ended(seen) == ("too formal", 3, "one two three")


@pytest.mark.parametrize("stream", [False, True])
def test_of_several_answers_it_is_called_for_each_that_ended(
    client: Client, server: Running, variant: Variant, seen: list[EndedAnswer], stream: bool
) -> None:
    judged = report(7, conditions={HOOK: DECIDED}, aborts=DECIDED)
    ends = [judged | {"aborted": {"event": "too formal", "index": 0, "position": at}} for at in (3, 5)]
    server.engine.default = several(ends[0], judged, ends[1], n=1)
    answer = client.completions.create(model=variant, prompt=["one", "two", "three"], stream=stream)
    for _ in answer:
        pass
    assert [(each.position, each.text.strip()) for each in seen] == [(3, "one"), (5, "three")]


def test_an_answer_that_nothing_ended_calls_nothing(
    client: Client, server: Running, variant: Variant, seen: list[EndedAnswer]
) -> None:
    server.engine.default = report(7, conditions={HOOK: DECIDED}, aborts=DECIDED)
    client.chat.completions.create(model=variant, messages=CHAT)
    assert seen == []


def test_what_it_raises_is_raised_where_the_answer_is_read(client: Client, variant: Variant) -> None:
    def stop(answer: EndedAnswer) -> None:
        raise RuntimeError(answer.event)

    variant.handle_when(FORMAL, stop, "too formal")
    assert len(variant.aborts) == 1
    with pytest.raises(RuntimeError, match="too formal"):
        client.chat.completions.create(model=variant, messages=CHAT)
    with pytest.raises(InvalidInput, match="stream=True"):
        client.responses.stream(model=variant, input="a")


def test_handlers_go_with_reset_and_not_into_json(variant: Variant) -> None:
    assert Variant.from_json(variant.to_json()) == variant
    assert Variant.from_json(variant.to_json()).handlers == {}
    assert variant.reset().handlers == {}
