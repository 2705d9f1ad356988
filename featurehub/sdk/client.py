"""``Client`` and ``AsyncClient``: openai's clients, pointed at a featurehub server."""

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from openai import AsyncOpenAI, OpenAI

from featurehub.features import Feature
from featurehub.sdk.chat import AsyncSteeredChat, SteeredChat
from featurehub.sdk.completions import AsyncSteeredTextCompletions, SteeredTextCompletions
from featurehub.sdk.features import AsyncFeatures, Features
from featurehub.sdk.groups import AsyncGroups, Groups
from featurehub.sdk.responses import AsyncSteeredResponses, SteeredResponses
from featurehub.sdk.tokens import TextToken, tokenize_body, tokenize_url, tokens_of
from featurehub.sdk.variants import AsyncVariants, Variants

__all__ = ["AsyncClient", "Client"]

BASE_URL = "http://localhost:8000"
# openai's client wants a key; a server without keys takes any.
NO_KEY = "none"


class Client(OpenAI):
    """``openai.OpenAI`` with features.

    >>> client = Client(base_url="http://localhost:8000", timeout=60)

    Args:
        base_url: The server's address, with or without ``/v1``. By default ``$FEATUREHUB_BASE_URL``, else
            http://localhost:8000.
        api_key: By default ``$FEATUREHUB_API_KEY``. ``$OPENAI_API_KEY`` is never sent to a featurehub server.
        options: All other arguments of ``openai.OpenAI``.
    """

    def __init__(self, base_url: Any = None, api_key: str | Callable[[], str] | None = None, **options: Any) -> None:
        super().__init__(base_url=url_of(base_url), api_key=api_key or key_from_environment(), **options)

    @property
    def chat(self) -> SteeredChat:
        """Chat completions that accept variants and features.

        >>> answer = client.chat.completions.create(model="demo", messages=chat, features={"pirate": 0.7})
        """
        return SteeredChat(self)

    @property
    def completions(self) -> SteeredTextCompletions:
        """Text completions that accept variants and features.

        >>> answer = client.completions.create(model="demo", prompt="Ahoy", features={"pirate": 0.7})
        """
        return SteeredTextCompletions(self)

    @property
    def responses(self) -> SteeredResponses:
        """Responses that accept variants and features.

        >>> answer = client.responses.create(model="demo", input="Ahoy", features={"pirate": 0.7})
        """
        return SteeredResponses(self)

    @property
    def features(self) -> Features:
        """Search and listing of the server's features.

        >>> found = client.features.search("pirate")
        """
        return Features(self)

    @property
    def groups(self) -> Groups:
        """Names that stand for several of the server's features.

        >>> group = client.groups.get("sea talk")
        """
        return Groups(self)

    def tokenize(self, chat: str | Sequence[Mapping[str, Any]], *, model: str | None = None) -> tuple[TextToken, ...]:
        """The tokens of a text or chat as the model reads it, by the positions that ``features.attribute`` counts.

        >>> tokens = client.tokenize(chat)
        >>> texts = [each.name for each in tokens]

        Args:
            chat: A text, or the messages of a chat.
            model: As in a chat completion.
        """
        return tokens_of(self.post(tokenize_url(self.base_url), body=tokenize_body(chat, model), cast_to=object))

    @property
    def variants(self) -> Variants:
        """Variants that the server stores.

        >>> stored = client.variants.get("pirate-bank")
        """
        return Variants(self)

    def feature(self, name: str) -> Feature:
        """Looks up one feature.

        >>> banking = client.feature("banking")
        >>> banking.label
        'banking: loan, deposit'

        Args:
            name: Label, alias, slug, id or ``sae:<artifact>/<latent>``.

        Raises:
            FeatureNotFound: No feature has this name; the error carries the closest names.
            AmbiguousFeature: Several features have it; the error carries their ids.
        """
        return self.features.get(name)


class AsyncClient(AsyncOpenAI):
    """``openai.AsyncOpenAI`` with features; its arguments are those of ``Client``.

    >>> async with AsyncClient() as own:
    ...     answer = await own.chat.completions.create(model="demo", messages=chat, features={"pirate": 0.7})
    """

    def __init__(self, base_url: Any = None, api_key: Any = None, **options: Any) -> None:
        super().__init__(base_url=url_of(base_url), api_key=api_key or key_from_environment(), **options)

    @property
    def chat(self) -> AsyncSteeredChat:
        """Chat completions that accept variants and features.

        >>> answer = await client.chat.completions.create(model="demo", messages=chat, features={"pirate": 0.7})
        """
        return AsyncSteeredChat(self)

    @property
    def completions(self) -> AsyncSteeredTextCompletions:
        """Text completions that accept variants and features.

        >>> answer = await client.completions.create(model="demo", prompt="Ahoy", features={"pirate": 0.7})
        """
        return AsyncSteeredTextCompletions(self)

    @property
    def responses(self) -> AsyncSteeredResponses:
        """Responses that accept variants and features.

        >>> answer = await client.responses.create(model="demo", input="Ahoy", features={"pirate": 0.7})
        """
        return AsyncSteeredResponses(self)

    @property
    def features(self) -> AsyncFeatures:
        """Search and listing of the server's features.

        >>> found = await client.features.search("pirate")
        """
        return AsyncFeatures(self)

    @property
    def groups(self) -> AsyncGroups:
        """Names that stand for several of the server's features.

        >>> group = await client.groups.get("sea talk")
        """
        return AsyncGroups(self)

    async def tokenize(
        self, chat: str | Sequence[Mapping[str, Any]], *, model: str | None = None
    ) -> tuple[TextToken, ...]:
        """See ``Client.tokenize``.

        >>> tokens = await client.tokenize(chat)
        >>> texts = [each.name for each in tokens]
        """
        return tokens_of(await self.post(tokenize_url(self.base_url), body=tokenize_body(chat, model), cast_to=object))

    @property
    def variants(self) -> AsyncVariants:
        """Variants that the server stores.

        >>> stored = await client.variants.get("pirate-bank")
        """
        return AsyncVariants(self)

    async def feature(self, name: str) -> Feature:
        """Looks up one feature.

        >>> banking = await client.feature("banking")
        >>> banking.label
        'banking: loan, deposit'

        Args:
            name: Label, alias, slug, id or ``sae:<artifact>/<latent>``.

        Raises:
            FeatureNotFound: No feature has this name; the error carries the closest names.
            AmbiguousFeature: Several features have it; the error carries their ids.
        """
        return await self.features.get(name)


def url_of(base_url: Any) -> str:
    """The address of the server's OpenAI routes: ``/v1`` below the server's own path, if it has one."""
    url = urlsplit(str(base_url or os.environ.get("FEATUREHUB_BASE_URL") or BASE_URL))
    path = url.path.rstrip("/")
    return urlunsplit(url._replace(path=path if path.endswith("/v1") else f"{path}/v1"))


def key_from_environment() -> str:
    return os.environ.get("FEATUREHUB_API_KEY") or NO_KEY
