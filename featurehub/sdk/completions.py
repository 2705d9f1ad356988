"""``client.completions``: openai's, where the model may be a variant."""

from typing import Any, Literal, Unpack, overload

from openai import AsyncStream, Omit, Stream, omit
from openai.resources.completions import AsyncCompletions, Completions
from openai.types import Completion

from featurehub.sdk.params import TextParams
from featurehub.sdk.request import steered, watch_of

__all__ = ["AsyncSteeredTextCompletions", "SteeredTextCompletions"]


class SteeredTextCompletions(Completions):
    """openai's ``Completions`` of plain prompts, with steering.

    >>> answer = client.completions.create(model="demo", prompt="Ahoy", features={"pirate": 0.7})
    """

    @overload
    def create(self, *, stream: Literal[False] | Omit | None = omit, **options: Unpack[TextParams]) -> Completion: ...
    @overload
    def create(self, *, stream: Literal[True], **options: Unpack[TextParams]) -> Stream[Completion]: ...
    @overload
    def create(self, *, stream: bool, **options: Unpack[TextParams]) -> Completion | Stream[Completion]: ...
    def create(self, **options: Any) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        """openai's ``create``, with the additions of ``client.chat.completions.create``.

        >>> answer = client.completions.create(model="demo", prompt="Ahoy", features={"pirate": 0.7})
        >>> [each["label"] for each in answer.featurehub["applied"]]
        ['pirate']
        """
        watch = watch_of(options)
        return watch.over(super().create(**steered(options)))


class AsyncSteeredTextCompletions(AsyncCompletions):
    """``SteeredTextCompletions`` for asyncio.

    >>> answer = await client.completions.create(model="demo", prompt="Ahoy", features={"pirate": 0.7})
    """

    @overload
    async def create(
        self, *, stream: Literal[False] | Omit | None = omit, **options: Unpack[TextParams]
    ) -> Completion: ...
    @overload
    async def create(self, *, stream: Literal[True], **options: Unpack[TextParams]) -> AsyncStream[Completion]: ...
    @overload
    async def create(self, *, stream: bool, **options: Unpack[TextParams]) -> Completion | AsyncStream[Completion]: ...
    async def create(self, **options: Any) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        """See ``SteeredTextCompletions.create``.

        >>> answer = await client.completions.create(model="demo", prompt="Ahoy", features={"pirate": 0.7})
        >>> [each["label"] for each in answer.featurehub["applied"]]
        ['pirate']
        """
        watch = watch_of(options)
        return watch.over(await super().create(**steered(options)))
