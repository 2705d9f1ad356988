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
        text: The answer until then.
    """

    event: str
    feature: str
    position: int
    text: str


Handler = Callable[[EndedAnswer], object]
"""What is called; what it raises is raised where the answer is read."""


class Watch:
    """Looks at what comes of one request, whole or as a stream: an answer or several.

    Args:
        handlers: What is called, by the abort's name. They are those of the moment when the request is sent.
    """

    def __init__(self, handlers: Mapping[str, Handler]) -> None:
        self._handlers, self._called = dict(handlers), False
        self._texts: dict[int, str] = {}

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
        for index, text in texts_of(part).items():
            self._texts[index] = self._texts.get(index, "") + text
        aborted = aborted_in(part)
        if not aborted or self._called:
            return
        self._called = True
        for index, own in aborted.items():
            if handler := self._handlers.get(own["event"]):
                handler(EndedAnswer(own["event"], own["feature"], own["position"], self._texts.get(index, "")))

    def _each(self, parts: Iterator[Any]) -> Iterator[Any]:
        for part in parts:
            self.see(part)
            yield part

    async def _each_async(self, parts: AsyncIterator[Any]) -> AsyncIterator[Any]:
        async for part in parts:
            self.see(part)
            yield part


def texts_of(part: Any) -> dict[int, str]:
    """The text that a whole answer has or a part adds, by choice: of a chat, a completion or a response."""
    if getattr(part, "type", "") == "response.output_text.delta":
        return {0: part.delta}
    if choices := getattr(part, "choices", None):
        return {choice.index: text_of(choice) for choice in choices}
    return {0: getattr(part, "output_text", "") or ""}


def text_of(choice: Any) -> str:
    said = getattr(choice, "message", None) or getattr(choice, "delta", None)
    return (said.content if said is not None else getattr(choice, "text", "")) or ""


def aborted_in(part: Any) -> dict[int, Mapping[str, Any]]:
    """The aborts that a whole answer or the end of a stream tells of, by choice."""
    told = (getattr(getattr(part, "response", part), "model_extra", None) or {}).get("featurehub")
    if not isinstance(told, Mapping):
        return {}
    choices = told.get("choices") or [{"index": 0, "aborted": told.get("aborted")}]
    return {each["index"]: each["aborted"] for each in choices if each["aborted"]}
