"""What a request does side by side, for as long as somebody waits for it."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from typing import Any, TypeVar

from fastapi import HTTPException, Request

from featurehub.errors import FeaturehubError

__all__ = ["awaited", "together"]

T, R = TypeVar("T"), TypeVar("R")
AT_ONCE = 32
"""Of the calls for one request, so many are under way; the engine has others to serve."""
EVERY = 0.5
"""Seconds between two looks whether the client is still there."""
GONE = 499
"""The status of a request whose client has gone, as nginx has it; nobody reads it."""


async def awaited(request: Request, work: Coroutine[Any, Any, T]) -> T:
    """The result of work that takes long. It is cancelled where the client goes away meanwhile."""
    task = asyncio.create_task(work)
    try:
        while not (await asyncio.wait([task], timeout=EVERY))[0]:
            if await request.is_disconnected():
                raise HTTPException(GONE, "the client has gone")
        return task.result()
    finally:
        task.cancel()


async def together(call: Callable[[T], Awaitable[R]], of: Iterable[T], at_once: int = AT_ONCE) -> list[R]:
    """Calls a function with each of several values, some at once, and returns the results in the same order.

    Raises:
        FeaturehubError: The first that one of the calls raises; the others are given up.
    """
    room = asyncio.Semaphore(at_once)

    async def one(each: T) -> R:
        async with room:
            return await call(each)

    try:
        async with asyncio.TaskGroup() as group:
            calls = [group.create_task(one(each)) for each in of]
    except* FeaturehubError as errors:
        raise first_of(errors) from None
    return [each.result() for each in calls]


def first_of(errors: BaseExceptionGroup[FeaturehubError]) -> FeaturehubError:
    """The first of several errors: a request has one answer."""
    first = errors.exceptions[0]
    return first_of(first) if isinstance(first, BaseExceptionGroup) else first
