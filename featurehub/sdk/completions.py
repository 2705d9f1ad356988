"""``client.completions``: openai's, where the model may be a variant."""

from typing import Any, Literal, overload

from openai import AsyncStream, Omit, Stream, omit
from openai.resources.completions import AsyncCompletions, Completions
from openai.types import Completion

from featurehub.sdk.request import Activations, Features, Model, Steer, steered, watch_of

__all__ = ["AsyncSteeredTextCompletions", "SteeredTextCompletions"]


class SteeredTextCompletions(Completions):
    """openai's ``Completions`` of plain prompts, with steering.

    >>> answer = client.completions.create(model="demo", prompt="Ahoy", features={"pirate": 0.7})
    """

    @overload
    def create(
        self,
        *,
        model: Model,
        prompt: Any,
        stream: Literal[False] | Omit | None = omit,
        features: Features | None = None,
        steer: Steer | None = None,
        return_activations: Activations | None = None,
        **options: Any,
    ) -> Completion: ...
    @overload
    def create(
        self,
        *,
        model: Model,
        prompt: Any,
        stream: Literal[True],
        features: Features | None = None,
        steer: Steer | None = None,
        return_activations: Activations | None = None,
        **options: Any,
    ) -> Stream[Completion]: ...
    @overload
    def create(self, *, model: Model, prompt: Any, stream: bool, **options: Any) -> Any: ...
    def create(self, **options: Any) -> Any:
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
        self,
        *,
        model: Model,
        prompt: Any,
        stream: Literal[False] | Omit | None = omit,
        features: Features | None = None,
        steer: Steer | None = None,
        return_activations: Activations | None = None,
        **options: Any,
    ) -> Completion: ...
    @overload
    async def create(
        self,
        *,
        model: Model,
        prompt: Any,
        stream: Literal[True],
        features: Features | None = None,
        steer: Steer | None = None,
        return_activations: Activations | None = None,
        **options: Any,
    ) -> AsyncStream[Completion]: ...
    @overload
    async def create(self, *, model: Model, prompt: Any, stream: bool, **options: Any) -> Any: ...
    async def create(self, **options: Any) -> Any:
        """See ``SteeredTextCompletions.create``.

        >>> answer = await client.completions.create(model="demo", prompt="Ahoy", features={"pirate": 0.7})
        >>> [each["label"] for each in answer.featurehub["applied"]]
        ['pirate']
        """
        watch = watch_of(options)
        return watch.over(await super().create(**steered(options)))
