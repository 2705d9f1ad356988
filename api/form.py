"""What differs between vLLM's routes: how a request asks, and where in an answer what we add has its place."""

from collections.abc import AsyncIterable, AsyncIterator, Collection
from typing import Any, Protocol

from api.choices import Choices, Hidden, count_tokens, refuse_unsteerable, take_counts
from api.stream import ABORTED, Ends, append

__all__ = ["COMPLETIONS", "Completions", "Form"]


class Form(Protocol):
    """The form of a route's requests and answers."""

    def prepare(self, body: Any) -> Hidden:
        """Refuses what cannot be steered, and makes vLLM count tokens.

        Returns:
            Which of the counts are for us alone.

        Raises:
            InvalidInput: ``param`` names the field that is at fault.
        """
        ...

    def choices(self, body: Any) -> Choices:
        """The answers that a request asks for."""
        ...

    def take_counts(self, content: dict[str, Any], hidden: Hidden) -> dict[int, int]:
        """How many tokens the answers of a whole response have, as far as it says; takes out what is for us alone."""
        ...

    def say_aborted(self, content: dict[str, Any], aborted: Collection[int]) -> None:
        """Makes the answers of a whole response with these indices say that they were cut off for what they say."""
        ...

    def append(self, pieces: AsyncIterable[str | bytes | memoryview], ends: Ends) -> AsyncIterator[str]:
        """Passes on a stream, with ``ends.finish()``'s keys added at its end; see ``api.stream.append``."""
        ...


class Completions:
    """Completions of chats and of prompts."""

    def prepare(self, body: Any) -> Hidden:
        """See ``Form.prepare``."""
        refuse_unsteerable(body)
        return count_tokens(body, self.choices(body).requests > 1)

    def choices(self, body: Any) -> Choices:
        """See ``Form.choices``."""
        return Choices.of(body)

    def take_counts(self, content: dict[str, Any], hidden: Hidden) -> dict[int, int]:
        """See ``Form.take_counts``."""
        return take_counts(content, hidden)

    def say_aborted(self, content: dict[str, Any], aborted: Collection[int]) -> None:
        """Sets ``finish_reason`` to "content_filter". Several answers to one chat of a list share vLLM's index."""
        for at in aborted:
            content["choices"][at]["finish_reason"] = ABORTED

    def append(self, pieces: AsyncIterable[str | bytes | memoryview], ends: Ends) -> AsyncIterator[str]:
        """Adds to the last chunk."""
        return append(pieces, ends)


COMPLETIONS = Completions()
