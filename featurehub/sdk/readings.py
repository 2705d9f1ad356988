"""What a model does with a chat or text that is there already: the part of ``client.features`` that reads."""

from collections.abc import Mapping, Sequence
from typing import Any, Unpack

from openai import AsyncOpenAI, OpenAI

from featurehub.sdk.activations import ActivationOptions, Activations, activations_body
from featurehub.sdk.attribution import AttributeOptions, Attribution
from featurehub.sdk.errors import own_errors
from featurehub.sdk.inspection import inspect_body
from featurehub.sdk.logits import Logits, LogitsOptions, logits_body

__all__ = ["AsyncReadings", "Readings"]

ATTRIBUTE, LOGITS, ACTIVATIONS = "/features/attribute", "/features/logits", "/features/activations"
Entry = str | Sequence[Mapping[str, Any]]


class Readings:
    """Reads chats and texts.

    >>> found = client.features.activations(chat)
    """

    def __init__(self, client: OpenAI) -> None:
        self._client = client

    def attribute(self, chat: Entry, **options: Unpack[AttributeOptions]) -> Attribution:
        """Which features, and at which earlier tokens, made a token likely, of the model without any steering.

        >>> found = client.features.attribute(chat)
        >>> [each.label for each in found.features]
        ['banking: loan, deposit']

        Args:
            chat: A text, or the messages of a chat.
            options: Which token, and what is asked for; see ``AttributeOptions``.
        """
        return Attribution.of(self._read(ATTRIBUTE, chat, options))

    def logits(self, chat: Entry, **options: Unpack[LogitsOptions]) -> Logits:
        """How likely the next tokens are, with and without features: log-probabilities, so logits up to a constant.

        >>> found = client.features.logits(chat, features={"pirate": 0.7}, top_k=5, tokens=["loan"])
        >>> changed = [each.logprob for each in found.tokens]

        Args:
            chat: A text, or the messages of a chat. The model would go on after the assistant's last message, or answer
                the user's.
            options: What is asked for; see ``LogitsOptions``.

        Raises:
            FeatureNotFound: No feature has one of the names; the error carries the closest names.
            AmbiguousFeature: Several features have it; the error carries their ids.
            InvalidEdit: An edit is not valid.
        """
        return Logits.of(self._read(LOGITS, chat, logits_body(options)))

    def activations(self, chat: Entry, **options: Unpack[ActivationOptions]) -> Activations:
        """The activations of a chat or text as a matrix.

        >>> found = client.features.activations(chat, features=["banking"])
        >>> [(found.tokens[row], value) for row, column, value in found.entries()]
        [(' loan', 1.0)]

        Args:
            chat: A text, or the messages of a chat.
            options: Which features; see ``ActivationOptions``.

        Raises:
            FeatureNotFound: No feature has one of the names; the error carries the closest names.
            AmbiguousFeature: Several features have it; the error carries their ids.
        """
        return Activations.of(self._read(ACTIVATIONS, chat, activations_body(options)))

    def _read(self, path: str, chat: Entry, options: Mapping[str, Any]) -> Any:
        with own_errors():
            return self._client.post(path, body=inspect_body(chat, options), cast_to=object)


class AsyncReadings:
    """``Readings`` for asyncio.

    >>> found = await client.features.activations(chat)
    """

    def __init__(self, client: AsyncOpenAI) -> None:
        self._client = client

    async def attribute(self, chat: Entry, **options: Unpack[AttributeOptions]) -> Attribution:
        """See ``Readings.attribute``.

        >>> found = await client.features.attribute(chat)
        >>> [each.label for each in found.features]
        ['banking: loan, deposit']
        """
        return Attribution.of(await self._read(ATTRIBUTE, chat, options))

    async def logits(self, chat: Entry, **options: Unpack[LogitsOptions]) -> Logits:
        """See ``Readings.logits``.

        >>> found = await client.features.logits(chat, features={"pirate": 0.7}, top_k=5, tokens=["loan"])
        >>> changed = [each.logprob for each in found.tokens]
        """
        return Logits.of(await self._read(LOGITS, chat, logits_body(options)))

    async def activations(self, chat: Entry, **options: Unpack[ActivationOptions]) -> Activations:
        """See ``Readings.activations``.

        >>> found = await client.features.activations(chat, features=["banking"])
        >>> [(found.tokens[row], value) for row, column, value in found.entries()]
        [(' loan', 1.0)]
        """
        return Activations.of(await self._read(ACTIVATIONS, chat, activations_body(options)))

    async def _read(self, path: str, chat: Entry, options: Mapping[str, Any]) -> Any:
        with own_errors():
            return await self._client.post(path, body=inspect_body(chat, options), cast_to=object)
