"""Calls of the SDK, for the type checker alone: nothing runs them, and pyright reads them with the packages.

A call that must be wrong says which rule of pyright's finds it; where none does, pyright complains of that comment.
"""

# pyright: reportUnnecessaryTypeIgnoreComment=true

from typing import assert_type

from openai import AsyncStream, Stream
from openai.types import Completion
from openai.types.chat import ChatCompletion, ChatCompletionChunk, ChatCompletionMessageParam
from openai.types.responses import Response, ResponseStreamEvent

from featurehub import AsyncClient, Client, Edit, FeatureGroup, Variant, report_of
from featurehub.features import SteerOptions
from featurehub.sdk import Report

CHAT: list[ChatCompletionMessageParam] = [{"role": "user", "content": "hello"}]


def whole_or_streamed(client: Client, streamed: bool) -> None:
    chat, text, respond = client.chat.completions.create, client.completions.create, client.responses.create
    assert_type(chat(model="m", messages=CHAT), ChatCompletion)
    assert_type(chat(model="m", messages=CHAT, stream=False), ChatCompletion)
    assert_type(chat(model="m", messages=CHAT, stream=True), Stream[ChatCompletionChunk])
    assert_type(chat(model="m", messages=CHAT, stream=streamed), ChatCompletion | Stream[ChatCompletionChunk])
    assert_type(text(model="m", prompt="a"), Completion)
    assert_type(text(model="m", prompt="a", stream=True), Stream[Completion])
    assert_type(text(model="m", prompt="a", stream=streamed), Completion | Stream[Completion])
    assert_type(respond(model="m", input="a"), Response)
    assert_type(respond(model="m", input="a", stream=True), Stream[ResponseStreamEvent])
    assert_type(respond(model="m", input="a", stream=streamed), Response | Stream[ResponseStreamEvent])


async def the_same_awaited(client: AsyncClient, streamed: bool) -> None:
    chat, text, respond = client.chat.completions.create, client.completions.create, client.responses.create
    assert_type(await chat(model="m", messages=CHAT), ChatCompletion)
    assert_type(await chat(model="m", messages=CHAT, stream=True), AsyncStream[ChatCompletionChunk])
    assert_type(
        await chat(model="m", messages=CHAT, stream=streamed), ChatCompletion | AsyncStream[ChatCompletionChunk]
    )
    assert_type(await text(model="m", prompt="a"), Completion)
    assert_type(await text(model="m", prompt="a", stream=True), AsyncStream[Completion])
    assert_type(await respond(model="m", input="a"), Response)
    assert_type(await respond(model="m", input="a", stream=True), AsyncStream[ResponseStreamEvent])


def openais_keywords_and_ours(client: Client, variant: Variant, group: FeatureGroup) -> None:
    banking = client.feature("banking")
    client.chat.completions.create(
        model=variant,
        messages=[{"role": "system", "content": "be short"}, {"role": "user", "content": "hello"}],
        features={banking: 0.5, group: {"mode": "pin", "weight": 0.5}, "formal": Edit(weight=0.2)},
        steer=SteerOptions(),
        abort_when=[banking > 0.3, {"feature": "self harm", "value": 0.2}],
        return_activations={"top_k": 8},
        temperature=0.7,
        n=2,
        seed=7,
        stop=["a"],
        logprobs=True,
        response_format={"type": "json_object"},
        extra_body={"top_k": 5},
        extra_headers={"x-request-id": "1"},
        timeout=60,
    )
    client.completions.create(
        model=variant.snapshot(), prompt=["a", "b"], steer={"positions": "prompt"}, abort_when=banking > 0.3, echo=True
    )
    client.responses.create(
        model=client.variants.get("pirate-bank"), input="a", return_activations=["banking"], max_output_tokens=5
    )


def conditions_in_a_list_of_their_own(client: Client) -> None:
    guards = [client.feature("banking") > 0.3, client.feature("self harm") > 0.2]
    client.completions.create(model="m", prompt="a", abort_when=guards)


def what_was_applied(client: Client, variant: Variant) -> None:
    told = report_of(client.chat.completions.create(model=variant, messages=CHAT))
    assert_type(told, Report | None)
    assert_type([each.label for each in told.applied] if told else [], list[str])
    report_of("an answer")  # pyright: ignore[reportArgumentType]


def what_is_refused(client: Client, variant: Variant) -> None:
    chat, text, respond = client.chat.completions.create, client.completions.create, client.responses.create
    chat(model=variant, messages=CHAT, temprature=0.7)  # pyright: ignore[reportCallIssue]
    chat(model=variant, messages=CHAT, temperature="hot")  # pyright: ignore[reportArgumentType]
    chat(model=variant, messages=CHAT, features=["pirate"])  # pyright: ignore[reportArgumentType]
    chat(model=variant, messages=CHAT, steer="all")  # pyright: ignore[reportArgumentType]
    chat(model=variant, messages=CHAT, abort_when="banking")  # pyright: ignore[reportArgumentType]
    chat(model=variant)  # pyright: ignore[reportCallIssue]
    chat(messages=CHAT)  # pyright: ignore[reportCallIssue]
    chat(model=7, messages=CHAT)  # pyright: ignore[reportArgumentType]
    chat(model=variant, messages="hello")  # pyright: ignore[reportArgumentType]
    text(model=variant, prompt="a", messages=CHAT)  # pyright: ignore[reportCallIssue]
    text(model=variant, prompt="a", max_tokens="5")  # pyright: ignore[reportArgumentType]
    respond(model=variant, input="a", n=2)  # pyright: ignore[reportCallIssue]
    respond(model=variant, input=7)  # pyright: ignore[reportArgumentType]


async def what_is_refused_awaited(client: AsyncClient, variant: Variant) -> None:
    await client.chat.completions.create(model=variant, messages=CHAT, temprature=1)  # pyright: ignore[reportCallIssue]
    await client.completions.create(model=variant, prompt="a", featurs={"a": 1})  # pyright: ignore[reportCallIssue]
    await client.responses.create(model=variant, input="a", n=2)  # pyright: ignore[reportCallIssue]
