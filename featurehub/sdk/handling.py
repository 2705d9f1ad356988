"""Calls what a variant has for an abort (``Variant.handle_when``), once for each answer that the abort ended."""

from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from typing import Any, NamedTuple

from openai import AsyncStream, Stream

__all__ = ["EndedAnswer", "Handler", "Watch"]


class EndedAnswer(NamedTuple):
    """An answer that an abort ended.

    Attributes:
        event: What the abort is called.
        feature: Id of the feature that met its condition.
        position: The position of the token at which it did.
        text: The answer until then; of several, the first.
    """

    event: str
    feature: str
    position: int
    text: str


Handler = Callable[[EndedAnswer], object]
"""What is called; what it raises is raised where the answer is read."""


class Watch:
    """Looks at one answer, whole or as a stream.

    Args:
        handlers: What is called, by the abort's name. They are those of the moment when the request is sent.
    """

    def __init__(self, handlers: Mapping[str, Handler]) -> None:
        self._handlers, self._text, self._called = dict(handlers), "", False

    def over(self, answer: Any) -> Any:
        """The answer itself, or the stream of it, looked at while it is read."""
        if not self._handlers:
            return answer
        if isinstance(answer, Stream):
            answer._iterator = self._each(answer._iterator)
        elif isinstance(answer, AsyncStream):
            answer._iterator = self._each_async(answer._iterator)
        else:
            self.see(answer)
        return answer

    def see(self, part: Any) -> None:
        """Takes a whole answer, or the next part of one."""
        self._text += text_of(part)
        aborted = aborted_in(part)
        if aborted is None or self._called:
            return
        self._called = True
        if handler := self._handlers.get(aborted["event"]):
            handler(EndedAnswer(aborted["event"], aborted["feature"], aborted["position"], self._text))

    def _each(self, parts: Iterator[Any]) -> Iterator[Any]:
        for part in parts:
            self.see(part)
            yield part

    async def _each_async(self, parts: AsyncIterator[Any]) -> AsyncIterator[Any]:
        async for part in parts:
            self.see(part)
            yield part


def text_of(part: Any) -> str:
    """The text that a whole answer has or a part adds: of a chat, a completion or a response."""
    if getattr(part, "type", "") == "response.output_text.delta":
        return part.delta
    if choices := getattr(part, "choices", None):
        first = choices[0]
        said = getattr(first, "message", None) or getattr(first, "delta", None)
        return (said.content if said is not None else getattr(first, "text", "")) or ""
    return getattr(part, "output_text", "") or ""


def aborted_in(part: Any) -> Mapping[str, Any] | None:
    """The abort that a whole answer or the end of a stream tells of."""
    told = (getattr(getattr(part, "response", part), "model_extra", None) or {}).get("featurehub")
    return told.get("aborted") if isinstance(told, Mapping) else None
