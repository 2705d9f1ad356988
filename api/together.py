"""What a request does side by side."""

import asyncio
from collections.abc import Coroutine, Iterable
from typing import Any, TypeVar

from featurehub.errors import FeaturehubError

__all__ = ["together"]

T = TypeVar("T")


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
