"""Work that goes on beside the requests while a server lives."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

__all__ = ["running"]


@asynccontextmanager
async def running(
    work: Coroutine[Any, Any, None], ended: Callable[["asyncio.Task[None]"], None]
) -> AsyncIterator[None]:
    """Runs work while the ``async with`` block runs, and cancels it then.

    Args:
        work: What to run.
        ended: Told when it has ended, be it by an error or because it was cancelled.
    """
    task = asyncio.create_task(work)
    task.add_done_callback(ended)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])
