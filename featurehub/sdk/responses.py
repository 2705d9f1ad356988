"""``client.responses``: openai's, where the model may be a variant."""

from collections.abc import Mapping
from typing import Any, Literal, Unpack, overload

from openai import AsyncStream, Omit, Stream, omit
from openai.resources.responses import AsyncResponses, Responses
from openai.types.responses import Response, ResponseStreamEvent

from featurehub.errors import InvalidInput
from featurehub.sdk.params import ResponseParams
from featurehub.sdk.request import steered, watch_of
from featurehub.sdk.variant import Variant

__all__ = ["AsyncSteeredResponses", "SteeredResponses"]


class SteeredResponses(Responses):
    """openai's ``Responses``, with steering.

    >>> answer = client.responses.create(model="demo", input="Ahoy", features={"pirate": 0.7})
    """

    @overload
    def create(self, *, stream: Literal[False] | Omit | None = omit, **options: Unpack[ResponseParams]) -> Response: ...
    @overload
    def create(self, *, stream: Literal[True], **options: Unpack[ResponseParams]) -> Stream[ResponseStreamEvent]: ...
    @overload
    def create(self, *, stream: bool, **options: Unpack[ResponseParams]) -> Response | Stream[ResponseStreamEvent]: ...
    def create(self, **options: Any) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        """openai's ``create``, with the additions of ``client.chat.completions.create``.

        >>> answer = client.responses.create(model="demo", input="Ahoy", features={"pirate": 0.7})
        >>> [each["label"] for each in answer.featurehub["applied"]]
        ['pirate']
        """
        watch = watch_of(options)
        return watch.over(super().create(**steered(options)))

    def stream(self, **options: Any) -> Any:
        """openai's ``stream``, with the same additions; its final response has ``.featurehub`` too.

        >>> with client.responses.stream(model="demo", input="Ahoy", features={"pirate": 0.7}) as events:
        ...     answer = events.get_final_response()
        >>> [each["label"] for each in answer.featurehub["applied"]]
        ['pirate']
        """
        refuse_handlers(options)
        return super().stream(**steered(options))


class AsyncSteeredResponses(AsyncResponses):
    """``SteeredResponses`` for asyncio.

    >>> answer = await client.responses.create(model="demo", input="Ahoy", features={"pirate": 0.7})
    """

    @overload
    async def create(
        self, *, stream: Literal[False] | Omit | None = omit, **options: Unpack[ResponseParams]
    ) -> Response: ...
    @overload
    async def create(
        self, *, stream: Literal[True], **options: Unpack[ResponseParams]
    ) -> AsyncStream[ResponseStreamEvent]: ...
    @overload
    async def create(
        self, *, stream: bool, **options: Unpack[ResponseParams]
    ) -> Response | AsyncStream[ResponseStreamEvent]: ...
    async def create(self, **options: Any) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        """See ``SteeredResponses.create``.

        >>> answer = await client.responses.create(model="demo", input="Ahoy", features={"pirate": 0.7})
        >>> [each["label"] for each in answer.featurehub["applied"]]
        ['pirate']
        """
        watch = watch_of(options)
        return watch.over(await super().create(**steered(options)))

    def stream(self, **options: Any) -> Any:
        """See ``SteeredResponses.stream``.

        >>> async with client.responses.stream(model="demo", input="Ahoy", features={"pirate": 0.7}) as events:
        ...     answer = await events.get_final_response()
        >>> [each["label"] for each in answer.featurehub["applied"]]
        ['pirate']
        """
        refuse_handlers(options)
        return super().stream(**steered(options))


def refuse_handlers(options: Mapping[str, Any]) -> None:
    """Refuses a variant whose handlers would not be called. Raises InvalidInput."""
    model = options.get("model")
    if isinstance(model, Variant) and model.handlers:
        raise InvalidInput("`stream` calls no handlers; use `create` with stream=True", param="model")
