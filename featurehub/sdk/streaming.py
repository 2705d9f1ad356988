"""``client.chat.completions.stream``: openai's own, whose final completion says what was applied.

openai's helper assembles the chunks of an answer and drops the keys that it does not know. The last chunk carries the
``featurehub`` object, so it is copied to the completion that the helper has assembled so far, and from there it gets
into the final one.
"""

from collections.abc import AsyncIterator, Iterator
from types import TracebackType
from typing import Any, TypeVar

from openai.lib.streaming.chat import (
    AsyncChatCompletionStream,
    AsyncChatCompletionStreamManager,
    ChatCompletionStream,
    ChatCompletionStreamManager,
)

from featurehub.sdk.handling import Watch

__all__ = ["AsyncSteeredStreamManager", "SteeredStreamManager"]

KEY = "featurehub"
R = TypeVar("R")


class SteeredStreamManager(ChatCompletionStreamManager[R]):
    """openai's context manager, around one of its own, whose stream keeps the ``featurehub`` object."""

    def __init__(self, manager: ChatCompletionStreamManager[R], watch: Watch) -> None:
        self._manager, self._watch = manager, watch

    def __enter__(self) -> ChatCompletionStream[R]:
        stream = self._manager.__enter__()
        stream._iterator = keeping(stream, stream._iterator, self._watch)
        return stream

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._manager.__exit__(kind, error, trace)


class AsyncSteeredStreamManager(AsyncChatCompletionStreamManager[R]):
    """``SteeredStreamManager`` for asyncio."""

    def __init__(self, manager: AsyncChatCompletionStreamManager[R], watch: Watch) -> None:
        self._manager, self._watch = manager, watch

    async def __aenter__(self) -> AsyncChatCompletionStream[R]:
        stream = await self._manager.__aenter__()
        stream._iterator = keeping_async(stream, stream._iterator, self._watch)
        return stream

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._manager.__aexit__(kind, error, trace)


def keeping(stream: ChatCompletionStream[Any], events: Iterator[Any], watch: Watch) -> Iterator[Any]:
    for event in events:
        keep(event, stream.current_completion_snapshot, watch)
        yield event


async def keeping_async(
    stream: AsyncChatCompletionStream[Any], events: AsyncIterator[Any], watch: Watch
) -> AsyncIterator[Any]:
    async for event in events:
        keep(event, stream.current_completion_snapshot, watch)
        yield event


def keep(event: Any, snapshot: Any, watch: Watch) -> None:
    if event.type != "chunk":
        return
    watch.see(event.chunk)
    if KEY in (event.chunk.model_extra or {}):
        setattr(snapshot, KEY, getattr(event.chunk, KEY))
