"""Server-sent events: splits a byte stream into them, and adds to the last chunk of an answer.

An event ends with a blank line, wherever the network cut the stream. Chunks are passed on as they come, byte for
byte; only those that may be the last (every choice has finished, or there is only usage) wait for what follows. Where
there are several answers, each of which may have been aborted, the last chunk of each waits until all have ended.
"""

import codecs
import json
import re
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Collection
from typing import Any, NamedTuple

from starlette.concurrency import run_in_threadpool

from api.choices import Hidden
from api.encoding import to_json
from api.errors import error_body
from featurehub.errors import FeaturehubError

__all__ = ["ABORTED", "Ending", "Ends", "Events", "append", "data_of", "event"]

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
        aborted: The choices that an abort ended.
    """

    added: dict[str, Any]
    aborted: Collection[int] = ()


def count_nothing(choice: int, tokens: int) -> None: ...


class Ends(NamedTuple):
    """What happens around the end of a stream.

    Attributes:
        finish: Awaited at most once, when the answer is complete: says what is added.
        counted: Called with a choice and how many tokens it has so far, the last time before ``finish``.
        hidden: What the stream says of these numbers for us alone.
        several: Whether there is more than one choice.
        aborts: Whether a choice may have been aborted.
    """

    finish: Callable[[], Awaitable[Ending]]
    counted: Callable[[int, int], None] = count_nothing
    hidden: Hidden = Hidden()
    several: bool = False
    aborts: bool = False


def say_aborted(chunk: dict[str, Any], aborted: Collection[int]) -> None:
    """Sets ``finish_reason`` to "content_filter" in a chunk's finished choices that were aborted."""
    for choice in chunk.get("choices", ()):
        if choice.get("finish_reason") is not None and choice.get("index", 0) in aborted:
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


async def append(pieces: AsyncIterable[str | bytes | memoryview], ends: Ends) -> AsyncIterator[str]:
    """Passes on a stream of events, with ``ends.finish()``'s keys added to the last chunk before ``[DONE]``.

    Where ``finish`` raises a FeaturehubError, the chunk is sent as it was, then an error event, then ``[DONE]``. A
    stream is passed on unchanged where it carries an error event, has no chunk, or breaks off before ``[DONE]``.

    Args:
        pieces: The stream, cut anywhere.
        ends: What happens around its end.

    Yields:
        Text of the new stream, one event or several at a time.
    """
    events, tail = Events(), Tail(ends)
    async for piece in pieces:
        for text in events.feed(piece):
            if out := await tail.pass_on(text):
                yield out
    if out := tail.release() + events.remainder():
        yield out


class Tail:
    """Holds back the chunks that may be the last ones.

    Attributes:
        ends: What happens around the end of the stream.
        held: The events that are held back, each with its data.
        latest: The last chunk that came.
        failed: Whether the stream carried an error.
    """

    def __init__(self, ends: Ends) -> None:
        self.ends = ends
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
        if "usage" in chunk:
            self.count(chunk)
            if self.ends.hidden.usage and not chunk.get("choices"):
                return ""
            if self.ends.hidden.each and chunk.get("choices"):
                del chunk["usage"]
                text = event(chunk)
        self.latest = chunk or self.latest
        waiting = self.ends.several and self.ends.aborts
        if may_be_last(chunk):
            released = self.release() if chunk["choices"] and not waiting else ""
            self.held.append((text, chunk))
            return released
        return text if waiting else self.release() + text

    def count(self, chunk: dict[str, Any]) -> None:
        """Takes a chunk's ``usage``: that of its own choice or, without any, of all that there are."""
        tokens = (chunk["usage"] or {}).get("completion_tokens")
        if tokens is None:
            return
        for choice in chunk.get("choices") or ([] if self.ends.several else [{"index": 0}]):
            self.ends.counted(choice["index"], tokens)

    def release(self) -> str:
        """The events that were held back, which are then no longer held."""
        held, self.held = self.held, []
        return "".join(text for text, _ in held)

    async def close(self) -> str:
        """What to send before ``[DONE]``."""
        if self.failed or not self.latest:
            return self.release()
        try:
            ending = await self.ends.finish()
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
                say_aborted(chunk, ending.aborted)
            held = [(event(chunk), chunk) for _, chunk in held]
        *before, (_, last) = held
        return "".join(text for text, _ in before) + event(last | ending.added)
