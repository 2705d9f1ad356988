"""Clients of an OpenAI server that ask for completions at once, each for its next as soon as it has its answer."""

import asyncio
import json
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import aiohttp
import numpy as np

__all__ = ["Load", "Reply", "load"]

PATIENCE = aiohttp.ClientTimeout(total=300)


class Reply(NamedTuple):
    """An answer as it came. Seconds count from when the request was sent.

    first: until its first bytes;  streamed: whether it came as events;  content: its bytes
    """

    first: float
    streamed: bool
    content: bytes

    def parts(self) -> Iterator[dict[str, Any]]:
        """The objects in its events, or the one that it is. Raises RuntimeError where one is an error."""
        texts = [self.content]
        if self.streamed:
            lines = [line.removeprefix(b"data: ") for line in self.content.splitlines() if line.startswith(b"data: ")]
            if lines[-1:] != [b"[DONE]"]:
                raise RuntimeError(f"the stream broke off: {self.content[-500:]!r}")
            texts = lines[:-1]
        for part in map(json.loads, texts):
            if "error" in part:
                raise RuntimeError(f"the server answered with an error: {part['error']}")
            yield part

    def check(self, tokens: int, edits: int) -> None:
        """Raises RuntimeError unless it has the tokens that were asked for, and tells of as many edits in force.

        Its first bytes must hold a token, or the seconds until then would not mean what they are called.
        """
        parts = list(self.parts())
        if not (parts and parts[0].get("choices")):
            raise RuntimeError(f"the answer does not begin with a token: {self.content[:500]!r}")
        whole: dict[str, Any] = {}
        for part in parts:
            whole |= {key: value for key, value in part.items() if value is not None}
        generated = whole["usage"]["completion_tokens"]
        in_force = [edit for edit in whole.get("featurehub", {}).get("applied", ()) if edit["tokens"]]
        if (generated, len(in_force)) != (tokens, edits):
            raise RuntimeError(
                f"{generated} tokens and {len(in_force)} edits in force, where {tokens} and {edits} were asked for: "
                f"{self.content[-500:]!r}"
            )


class Load(NamedTuple):
    """What the clients saw.

    tokens_per_second: of all together;  first: median seconds to the first bytes, all of the answer unless streamed
    """

    tokens_per_second: float
    first: float


def load(url: str, bodies: Sequence[Mapping[str, Any]], clients: int, edits: int = 0) -> Load:
    """Sends requests for completions of one length, and looks at the answers once the clock has stopped.

    Args:
        url: Base URL of the server, ending in ``/v1``.
        bodies: Of the requests, all streamed or none.
        clients: How many ask at once.
        edits: How many edits every answer must tell of.

    Raises:
        RuntimeError: An answer is not what was asked for.
    """
    started = time.perf_counter()
    replies = asyncio.run(ask_all(f"{url}/completions", bodies, clients))
    seconds = time.perf_counter() - started
    tokens = bodies[0]["max_tokens"]
    for reply in replies:
        reply.check(tokens, edits)
    return Load(tokens * len(replies) / seconds, float(np.median([reply.first for reply in replies])))


async def ask_all(url: str, bodies: Iterable[Mapping[str, Any]], clients: int) -> list[Reply]:
    waiting = iter(bodies)
    connections = aiohttp.TCPConnector(limit=clients)
    async with aiohttp.ClientSession(connector=connections, timeout=PATIENCE) as session:

        async def client() -> list[Reply]:
            return [await ask(session, url, body) for body in waiting]

        return [reply for own in await asyncio.gather(*(client() for _ in range(clients))) for reply in own]


async def ask(session: aiohttp.ClientSession, url: str, body: Mapping[str, Any]) -> Reply:
    started, first, pieces = time.perf_counter(), 0.0, list[bytes]()
    async with session.post(url, json=body) as answer:
        async for piece in answer.content.iter_any():
            first = first or time.perf_counter() - started
            pieces.append(piece)
        content = b"".join(pieces)
        if answer.status != 200:
            raise RuntimeError(f"{url} answered with status {answer.status}: {content[-500:]!r}")
    return Reply(first, bool(body.get("stream")), content)
