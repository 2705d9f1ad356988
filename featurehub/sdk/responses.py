"""``client.responses``: openai's, where the model may be a variant."""

from typing import Any

from openai.resources.responses import AsyncResponses, Responses

from featurehub.sdk.request import steered

__all__ = ["AsyncSteeredResponses", "SteeredResponses"]


class SteeredResponses(Responses):
    """openai's ``Responses``, with steering."""

    def create(self, **options: Any) -> Any:
        """openai's ``create``, with the additions of ``client.chat.completions.create``."""
        return super().create(**steered(options))

    def stream(self, **options: Any) -> Any:
        """openai's ``stream``, with the same additions; its final response has ``.featurehub`` too."""
        return super().stream(**steered(options))


class AsyncSteeredResponses(AsyncResponses):
    """``SteeredResponses`` for asyncio."""

    async def create(self, **options: Any) -> Any:
        """See ``SteeredResponses.create``."""
        return await super().create(**steered(options))

    def stream(self, **options: Any) -> Any:
        """See ``SteeredResponses.stream``."""
        return super().stream(**steered(options))
