"""Server-sent events: splits a byte stream into them, and adds to the last chunk of an answer.

An event ends with a blank line, wherever the network cut the stream. Chunks are passed on as they come, byte for
byte; only those that may be the last (every choice has finished, or there is only usage) wait for what follows.
"""

import codecs
import json
import re
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Mapping
from typing import Any, NamedTuple

from starlette.concurrency import run_in_threadpool

from api.encoding import to_json
from api.errors import error_body
from featurehub.errors import FeaturehubError

__all__ = ["Ending", "Events", "append", "data_of", "event", "say_aborted"]

# Python's own ``splitlines`` also splits at characters that JSON may contain unescaped.
LINE_END = re.compile(r"\r\n|\n|\r")
# Two line ends in a row. A lone "\r" at the end of the buffer may be half of "\r\n": it waits.
BLANK_LINE = re.compile(r"(?:\r\n|\n|\r(?!\n|\Z)){2}")
DONE = "[DONE]"
ABORTED = "content_filter"
"""OpenAI's word for an answer that was cut off because of what it says."""


class Ending(NamedTuple):
    """What an answer ends with.

    Attributes:
        added: Keys that are added to the answer's last chunk.
        aborted: Whether an abort ended the answer.
    """

    added: dict[str, Any]
    aborted: bool = False


Finish = Callable[[], Awaitable[Ending]]
CountUsage = Callable[[Mapping[str, Any]], None]


def say_aborted(chunk: dict[str, Any]) -> None:
    """Sets ``finish_reason`` to "content_filter" in every finished choice of a chunk or a whole answer."""
    for choice in chunk.get("choices", ()):
        if choice.get("finish_reason") is not None:
            choice["finish_reason"] = ABORTED


class Events:
    """Splits text or bytes that arrive in arbitrary pieces into events. Joined, the events are the input unchanged.

    Attributes:
        buffer: The text of the event that is not complete yet.
        decoder: Decodes UTF-8 that may be cut within a character.
    """

    def __init__(self) -> None:
        self.buffer = ""
        self.decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def feed(self, piece: str | bytes | memoryview) -> list[str]:
        """The events that ``piece`` completes, each with its blank line."""
        self.buffer += piece if isinstance(piece, str) else self.decoder.decode(bytes(piece))
        events: list[str] = []
        start = 0
        for end in BLANK_LINE.finditer(self.buffer):
            events.append(self.buffer[start : end.end()])
            start = end.end()
        self.buffer = self.buffer[start:]
        return events

    def remainder(self) -> str:
        """What is left when the stream ends: an event without its blank line, or ""."""
        left, self.buffer = self.buffer + self.decoder.decode(b"", final=True), ""
        return left


def data_of(text: str) -> str:
    """The data of one event; "" for a comment."""
    lines = [line[5:].removeprefix(" ") for line in LINE_END.split(text) if line.startswith("data:")]
    return "\n".join(lines)


def event(body: dict[str, Any]) -> str:
    """One server-sent event with this JSON object as its data."""
    return f"data: {to_json(body)}\n\n"


def chunk_of(data: str) -> dict[str, Any]:
    """The JSON object in an event's data; empty where there is none."""
    try:
        body = json.loads(data)
    except json.JSONDecodeError:
        return {}
    return body if isinstance(body, dict) else {}


def may_be_last(chunk: dict[str, Any]) -> bool:
    choices = chunk.get("choices")
    return isinstance(choices, list) and all(choice.get("finish_reason") is not None for choice in choices)


async def append(
    pieces: AsyncIterable[str | bytes | memoryview],
    finish: Finish,
    without_usage: bool = False,
    count: CountUsage = lambda usage: None,
) -> AsyncIterator[str]:
    """Passes on a stream of events, with ``finish()``'s keys added to the last chunk before ``[DONE]``.

    Where ``finish`` raises a FeaturehubError, the chunk is sent as it was, then an error event, then ``[DONE]``. A
    stream is passed on unchanged where it carries an error event, has no chunk, or breaks off before ``[DONE]``.

    Args:
        pieces: The stream, cut anywhere.
        finish: Awaited at most once, when the answer is complete.
        without_usage: Leave out the chunk that has only ``usage``.
        count: Called with each ``usage`` object, all of them before ``finish``.

    Yields:
        Text of the new stream, one event or several at a time.
    """
    events, tail = Events(), Tail(finish, without_usage, count)
    async for piece in pieces:
        for text in events.feed(piece):
            if out := await tail.pass_on(text):
                yield out
    if out := tail.release() + events.remainder():
        yield out


class Tail:
    """Holds back the chunks that may be the last ones.

    Attributes:
        finish: Gives the keys to add.
        without_usage: Whether the chunk that has only ``usage`` is left out.
        count: Takes each ``usage`` object that comes.
        held: The events that are held back, each with its data.
        latest: The last chunk that came.
        failed: Whether the stream carried an error.
    """

    def __init__(self, finish: Finish, without_usage: bool, count: CountUsage) -> None:
        self.finish = finish
        self.without_usage = without_usage
        self.count = count
        self.held: list[tuple[str, dict[str, Any]]] = []
        self.latest: dict[str, Any] = {}
        self.failed = False

    async def pass_on(self, text: str) -> str:
        """What to send now that the event ``text`` has come; "" for nothing yet."""
        data = data_of(text)
        if not data:
            return text
        if data == DONE:
            return await self.close() + text
        return self.take(text, chunk_of(data))

    def take(self, text: str, chunk: dict[str, Any]) -> str:
        """Holds back a chunk that may be the last, and returns what can be sent."""
        self.failed = self.failed or "error" in chunk
        if usage := chunk.get("usage"):
            self.count(usage)
        if self.without_usage and "usage" in chunk and not chunk.get("choices"):
            return ""
        self.latest = chunk or self.latest
        if may_be_last(chunk):
            released = self.release() if chunk["choices"] else ""
            self.held.append((text, chunk))
            return released
        return self.release() + text

    def release(self) -> str:
        """The events that were held back, which are then no longer held."""
        held, self.held = self.held, []
        return "".join(text for text, _ in held)

    async def close(self) -> str:
        """What to send before ``[DONE]``."""
        if self.failed or not self.latest:
            return self.release()
        try:
            ending = await self.finish()
        except FeaturehubError as error:
            return self.release() + event(error_body(error))
        # An answer's activations may be long.
        return await run_in_threadpool(self.end, ending)

    def end(self, ending: Ending) -> str:
        """The events that were held back, with ``ending`` in the last of them, or in a new one where none was."""
        held, self.held = self.held, []
        if not held:
            return event(self.latest | {"choices": []} | ending.added)
        if ending.aborted:
            for _, chunk in held:
                say_aborted(chunk)
            held = [(event(chunk), chunk) for _, chunk in held]
        *before, (_, last) = held
        return "".join(text for text, _ in before) + event(last | ending.added)
