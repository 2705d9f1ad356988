"""``client.chat.completions``: openai's, where the model may be a variant."""

from collections.abc import Iterable
from typing import Any, Literal, TypeVar, Unpack, overload

from openai import AsyncStream, Omit, Stream, omit
from openai.resources.chat import AsyncChat, Chat
from openai.resources.chat.completions import AsyncCompletions, Completions
from openai.types.chat import ChatCompletion, ChatCompletionChunk, ChatCompletionMessageParam, ParsedChatCompletion

from featurehub.sdk.params import ChatParams
from featurehub.sdk.request import Model, steered, watch_of
from featurehub.sdk.streaming import AsyncSteeredStreamManager, SteeredStreamManager

__all__ = ["AsyncSteeredChat", "SteeredChat"]

Messages = Iterable[ChatCompletionMessageParam]
R = TypeVar("R")


class SteeredCompletions(Completions):
    """openai's ``Completions`` of chats, with steering.

    >>> answer = client.chat.completions.create(model="demo", messages=chat, features={"pirate": 0.7})
    """

    @overload
    def create(
        self, *, stream: Literal[False] | Omit | None = omit, **options: Unpack[ChatParams]
    ) -> ChatCompletion: ...
    @overload
    def create(self, *, stream: Literal[True], **options: Unpack[ChatParams]) -> Stream[ChatCompletionChunk]: ...
    @overload
    def create(
        self, *, stream: bool, **options: Unpack[ChatParams]
    ) -> ChatCompletion | Stream[ChatCompletionChunk]: ...
    def create(self, **options: Any) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        """openai's ``create``, with four more arguments and a variant as ``model``.

        >>> answer = client.chat.completions.create(model="demo", messages=chat, features={"pirate": 0.7})
        >>> [each["label"] for each in answer.featurehub["applied"]]
        ['pirate']

        Args:
            model: Name of a model or stored variant; or a variant, whose edits and aborts are sent along; or a version
                of a stored one.
            features: ``{name: weight}``, or an edit in place of a weight, on the calibrated scale from -1 to 1. They
                win over the variant's, and those in ``extra_body`` over both.
            steer: ``{"positions": …, "on_stale": …}``, or ``SteerOptions``.
            abort_when: Conditions at which the answer ends, beside the variant's: ``feature > 0.3``, a
                ``FeatureAbort``, or what a request writes for one; or several of these.
            return_activations: How many of each token's strongest features to return; or a list of features whose
                activations to return of every token; or ``{"top_k": …, "sae": …, "features": […]}``, where ``sae`` is
                the only SAE whose strongest features are returned, of several that a server has.
            options: All other arguments of openai's ``create``.

        Returns:
            What openai's ``create`` returns. A steered answer, or the last chunk of its stream, says in ``.featurehub``
            what was applied.

        Raises:
            InvalidEdit: An edit is not valid. Nothing was sent.
            InvalidInput: An abort is not valid, or a feature appears twice in ``features``. Nothing was sent.
        """
        watch = watch_of(options)
        return watch.over(super().create(**steered(options)))

    def parse(
        self, *, messages: Messages, model: Model, response_format: type[R] | Omit = omit, **options: Any
    ) -> ParsedChatCompletion[R]:
        """openai's ``parse``, with the additions of ``create``.

        >>> from pydantic import BaseModel
        >>> class Loan(BaseModel):
        ...     safe: bool
        >>> asked = [{"role": "user", "content": '{"safe": true}'}]  # what the fake server answers
        >>> answer = client.chat.completions.parse(model="demo", messages=asked, response_format=Loan)
        >>> answer.choices[0].message.parsed
        Loan(safe=True)
        """
        given = {"messages": messages, "model": model, "response_format": response_format}
        return super().parse(**steered(given | options))

    def stream(
        self, *, messages: Messages, model: Model, response_format: Any = omit, **options: Any
    ) -> SteeredStreamManager[Any]:
        """openai's ``stream``, with the additions of ``create``; its final completion has ``.featurehub`` too.

        >>> with client.chat.completions.stream(model="demo", messages=chat, features={"pirate": 0.7}) as events:
        ...     answer = events.get_final_completion()
        >>> [each["label"] for each in answer.featurehub["applied"]]
        ['pirate']
        """
        given = {"messages": messages, "model": model, "response_format": response_format}
        return SteeredStreamManager(super().stream(**steered(given | options)), watch_of(given))


class AsyncSteeredCompletions(AsyncCompletions):
    """``SteeredCompletions`` for asyncio.

    >>> answer = await client.chat.completions.create(model="demo", messages=chat, features={"pirate": 0.7})
    """

    @overload
    async def create(
        self, *, stream: Literal[False] | Omit | None = omit, **options: Unpack[ChatParams]
    ) -> ChatCompletion: ...
    @overload
    async def create(
        self, *, stream: Literal[True], **options: Unpack[ChatParams]
    ) -> AsyncStream[ChatCompletionChunk]: ...
    @overload
    async def create(
        self, *, stream: bool, **options: Unpack[ChatParams]
    ) -> ChatCompletion | AsyncStream[ChatCompletionChunk]: ...
    async def create(self, **options: Any) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        """See ``SteeredCompletions.create``.

        >>> answer = await client.chat.completions.create(model="demo", messages=chat, features={"pirate": 0.7})
        >>> [each["label"] for each in answer.featurehub["applied"]]
        ['pirate']
        """
        watch = watch_of(options)
        return watch.over(await super().create(**steered(options)))

    async def parse(
        self, *, messages: Messages, model: Model, response_format: type[R] | Omit = omit, **options: Any
    ) -> ParsedChatCompletion[R]:
        """See ``SteeredCompletions.parse``.

        >>> from pydantic import BaseModel
        >>> class Loan(BaseModel):
        ...     safe: bool
        >>> asked = [{"role": "user", "content": '{"safe": true}'}]  # what the fake server answers
        >>> answer = await client.chat.completions.parse(model="demo", messages=asked, response_format=Loan)
        >>> answer.choices[0].message.parsed
        Loan(safe=True)
        """
        given = {"messages": messages, "model": model, "response_format": response_format}
        return await super().parse(**steered(given | options))

    def stream(
        self, *, messages: Messages, model: Model, response_format: Any = omit, **options: Any
    ) -> AsyncSteeredStreamManager[Any]:
        """See ``SteeredCompletions.stream``.

        >>> async with client.chat.completions.stream(model="demo", messages=chat, features={"pirate": 0.7}) as events:
        ...     answer = await events.get_final_completion()
        >>> [each["label"] for each in answer.featurehub["applied"]]
        ['pirate']
        """
        given = {"messages": messages, "model": model, "response_format": response_format}
        return AsyncSteeredStreamManager(super().stream(**steered(given | options)), watch_of(given))


class SteeredChat(Chat):
    """``client.chat``: openai's, with steered completions.

    >>> answer = client.chat.completions.create(model="demo", messages=chat, features={"pirate": 0.7})
    """

    @property
    def completions(self) -> SteeredCompletions:
        """Chat completions that accept variants and features.

        >>> answer = client.chat.completions.create(model="demo", messages=chat, features={"pirate": 0.7})
        """
        return SteeredCompletions(self._client)


class AsyncSteeredChat(AsyncChat):
    """``client.chat`` of ``AsyncClient``.

    >>> answer = await client.chat.completions.create(model="demo", messages=chat, features={"pirate": 0.7})
    """

    @property
    def completions(self) -> AsyncSteeredCompletions:
        """Chat completions that accept variants and features.

        >>> answer = await client.chat.completions.create(model="demo", messages=chat, features={"pirate": 0.7})
        """
        return AsyncSteeredCompletions(self._client)
