"""``Client`` and ``AsyncClient``: openai's clients, pointed at a featurehub server."""

import os
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from openai import AsyncOpenAI, OpenAI

from featurehub.features import Feature
from featurehub.sdk.chat import AsyncSteeredChat, SteeredChat
from featurehub.sdk.completions import AsyncSteeredTextCompletions, SteeredTextCompletions
from featurehub.sdk.features import AsyncFeatures, Features

__all__ = ["AsyncClient", "Client"]

BASE_URL = "http://localhost:8000"
# openai's client wants a key; a server without keys takes any.
NO_KEY = "none"


class Client(OpenAI):
    """``openai.OpenAI`` with features.

    base_url: of the server, with or without ``/v1``; ``$FEATUREHUB_BASE_URL`` or http://localhost:8000 by default
    api_key:  ``$FEATUREHUB_API_KEY`` by default; never ``$OPENAI_API_KEY``, which is no business of this server
    options:  all others of ``openai.OpenAI``
    """

    def __init__(self, base_url: Any = None, api_key: str | Callable[[], str] | None = None, **options: Any) -> None:
        super().__init__(base_url=url_of(base_url), api_key=api_key or key_from_environment(), **options)

    @property
    def chat(self) -> SteeredChat:
        return SteeredChat(self)

    @property
    def completions(self) -> SteeredTextCompletions:
        return SteeredTextCompletions(self)

    @property
    def features(self) -> Features:
        return Features(self)

    def feature(self, name: str) -> Feature:
        """One feature by its name. Raises FeatureNotFound with the closest names, AmbiguousFeature."""
        return self.features.get(name)


class AsyncClient(AsyncOpenAI):
    """``openai.AsyncOpenAI`` with features; see ``Client``."""

    def __init__(self, base_url: Any = None, api_key: Any = None, **options: Any) -> None:
        super().__init__(base_url=url_of(base_url), api_key=api_key or key_from_environment(), **options)

    @property
    def chat(self) -> AsyncSteeredChat:
        return AsyncSteeredChat(self)

    @property
    def completions(self) -> AsyncSteeredTextCompletions:
        return AsyncSteeredTextCompletions(self)

    @property
    def features(self) -> AsyncFeatures:
        return AsyncFeatures(self)

    async def feature(self, name: str) -> Feature:
        """One feature by its name. Raises FeatureNotFound with the closest names, AmbiguousFeature."""
        return await self.features.get(name)


def url_of(base_url: Any) -> str:
    """The server's OpenAI routes: everything is below ``/v1``, and that below the server's own path, if it has one."""
    url = urlsplit(str(base_url or os.environ.get("FEATUREHUB_BASE_URL") or BASE_URL))
    path = url.path.rstrip("/")
    return urlunsplit(url._replace(path=path if path.endswith("/v1") else f"{path}/v1"))


def key_from_environment() -> str:
    return os.environ.get("FEATUREHUB_API_KEY") or NO_KEY
