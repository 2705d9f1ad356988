"""``client.chat.completions``: openai's, where the model may be a variant."""

from collections.abc import Iterable
from typing import Any, Literal, TypeVar, overload

from openai import AsyncStream, Omit, Stream, omit
from openai.resources.chat import AsyncChat, Chat
from openai.resources.chat.completions import AsyncCompletions, Completions
from openai.types.chat import ChatCompletion, ChatCompletionChunk, ChatCompletionMessageParam, ParsedChatCompletion

from featurehub.sdk.request import Activations, Features, Model, Steer, steered
from featurehub.sdk.streaming import AsyncSteeredStreamManager, SteeredStreamManager

__all__ = ["AsyncSteeredChat", "SteeredChat"]

Messages = Iterable[ChatCompletionMessageParam]
R = TypeVar("R")


class SteeredCompletions(Completions):
    @overload
    def create(
        self,
        *,
        messages: Messages,
        model: Model,
        stream: Literal[False] | Omit | None = omit,
        features: Features | None = None,
        steer: Steer | None = None,
        return_activations: Activations | None = None,
        **options: Any,
    ) -> ChatCompletion: ...
    @overload
    def create(
        self,
        *,
        messages: Messages,
        model: Model,
        stream: Literal[True],
        features: Features | None = None,
        steer: Steer | None = None,
        return_activations: Activations | None = None,
        **options: Any,
    ) -> Stream[ChatCompletionChunk]: ...
    @overload
    def create(self, *, messages: Messages, model: Model, stream: bool, **options: Any) -> Any: ...
    def create(self, **options: Any) -> Any:
        """openai's ``create``. Beside its arguments: a variant as ``model``, ``features``, ``steer``,
        ``return_activations``. Raises InvalidEdit before anything is sent.
        """
        return super().create(**steered(options))

    def parse(
        self, *, messages: Messages, model: Model, response_format: type[R] | Omit = omit, **options: Any
    ) -> ParsedChatCompletion[R]:
        given = {"messages": messages, "model": model, "response_format": response_format}
        return super().parse(**steered(given | options))

    def stream(
        self, *, messages: Messages, model: Model, response_format: Any = omit, **options: Any
    ) -> SteeredStreamManager[Any]:
        given = {"messages": messages, "model": model, "response_format": response_format}
        return SteeredStreamManager(super().stream(**steered(given | options)))


class AsyncSteeredCompletions(AsyncCompletions):
    @overload
    async def create(
        self,
        *,
        messages: Messages,
        model: Model,
        stream: Literal[False] | Omit | None = omit,
        features: Features | None = None,
        steer: Steer | None = None,
        return_activations: Activations | None = None,
        **options: Any,
    ) -> ChatCompletion: ...
    @overload
    async def create(
        self,
        *,
        messages: Messages,
        model: Model,
        stream: Literal[True],
        features: Features | None = None,
        steer: Steer | None = None,
        return_activations: Activations | None = None,
        **options: Any,
    ) -> AsyncStream[ChatCompletionChunk]: ...
    @overload
    async def create(self, *, messages: Messages, model: Model, stream: bool, **options: Any) -> Any: ...
    async def create(self, **options: Any) -> Any:
        """As ``SteeredCompletions.create``."""
        return await super().create(**steered(options))

    async def parse(
        self, *, messages: Messages, model: Model, response_format: type[R] | Omit = omit, **options: Any
    ) -> ParsedChatCompletion[R]:
        given = {"messages": messages, "model": model, "response_format": response_format}
        return await super().parse(**steered(given | options))

    def stream(
        self, *, messages: Messages, model: Model, response_format: Any = omit, **options: Any
    ) -> AsyncSteeredStreamManager[Any]:
        given = {"messages": messages, "model": model, "response_format": response_format}
        return AsyncSteeredStreamManager(super().stream(**steered(given | options)))


class SteeredChat(Chat):
    @property
    def completions(self) -> SteeredCompletions:
        return SteeredCompletions(self._client)


class AsyncSteeredChat(AsyncChat):
    @property
    def completions(self) -> AsyncSteeredCompletions:
        return AsyncSteeredCompletions(self._client)
