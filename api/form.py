"""What differs between vLLM's routes: how a request asks, and where in an answer what we add has its place."""

from collections.abc import AsyncIterable, AsyncIterator, Mapping
from typing import Any, Protocol

from api.choices import Choices, count_tokens, refuse_unsteerable
from api.stream import CountUsage, Finish, append, say_aborted
from featurehub.edits import Steering

__all__ = ["COMPLETIONS", "Completions", "Form"]


class Form(Protocol):
    """The form of a route's requests and answers."""

    def prepare(self, body: Any, steering: Steering) -> bool:
        """Refuses what cannot be steered, and makes vLLM count tokens.

        Returns:
            Whether the counts are for us alone.

        Raises:
            InvalidInput: ``param`` names the field that is at fault.
        """
        ...

    def choices(self, body: Any) -> Choices:
        """The answers that a request asks for."""
        ...

    def usage(self, content: Mapping[str, Any]) -> Mapping[str, Any] | None:
        """The ``prompt_tokens`` and ``completion_tokens`` of a whole answer; None where it does not say."""
        ...

    def say_aborted(self, content: dict[str, Any]) -> None:
        """Makes a whole answer say that it was cut off because of what it says."""
        ...

    def append(
        self, pieces: AsyncIterable[str | bytes | memoryview], finish: Finish, without_usage: bool, count: CountUsage
    ) -> AsyncIterator[str]:
        """Passes on a stream, with ``finish()``'s keys added at its end; see ``api.stream.append``."""
        ...


class Completions:
    """Completions of chats and of prompts."""

    def prepare(self, body: Any, steering: Steering) -> bool:
        """See ``Form.prepare``."""
        refuse_unsteerable(body, steering)
        return count_tokens(body)

    def choices(self, body: Any) -> Choices:
        """See ``Form.choices``."""
        return Choices.of(body)

    def usage(self, content: Mapping[str, Any]) -> Mapping[str, Any] | None:
        """See ``Form.usage``."""
        return content.get("usage")

    def say_aborted(self, content: dict[str, Any]) -> None:
        """Sets ``finish_reason`` to "content_filter"."""
        say_aborted(content)

    def append(
        self, pieces: AsyncIterable[str | bytes | memoryview], finish: Finish, without_usage: bool, count: CountUsage
    ) -> AsyncIterator[str]:
        """Adds to the last chunk."""
        return append(pieces, finish, without_usage, count)


COMPLETIONS = Completions()
