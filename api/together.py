"""What a request does side by side, for as long as somebody waits for it."""

import asyncio
from collections.abc import Coroutine, Iterable
from typing import Any, TypeVar

from fastapi import HTTPException, Request

from featurehub.errors import FeaturehubError

__all__ = ["awaited", "together"]

T = TypeVar("T")
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


async def together(coroutines: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    """The results of all, in their order. The first error cancels the others, and is the only one that is raised."""
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(each) for each in coroutines]
    except* FeaturehubError as errors:
        raise first_of(errors) from None
    return [each.result() for each in tasks]


def first_of(errors: BaseExceptionGroup[FeaturehubError]) -> FeaturehubError:
    """The first of several errors: a request has one answer."""
    first = errors.exceptions[0]
    return first_of(first) if isinstance(first, BaseExceptionGroup) else first
