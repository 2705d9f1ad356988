"""Watches what steering costs the engine: readings for the door (``api.budget``), and gauges in vLLM's ``/metrics``.

The gauges are in ``prometheus_client``'s own registry, which vLLM shows. Where vLLM runs several API servers, each of
them reads the same engine, and the last one to read is shown.
"""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import partial

from prometheus_client import Gauge

from api.background import running
from api.budget import Door, Refused
from api.engine import SteeringEngine
from featurehub.errors import EngineUnavailable

__all__ = ["publish", "watched"]

EVERY = 1.0
"""Seconds between two readings."""

logger = logging.getLogger("vllm.featurehub")

SHARE = Gauge(
    "featurehub_overhead_share",
    "featurehub's part of the engine's step time over the last seconds: the adapters' work (host) and the op in the "
    "model's layers (op), timed on the host. On a GPU op is the launching only, and 0 in captured graphs. 0 while the "
    "engine is mostly idle.",
    ["part"],
    multiprocess_mode="livemostrecent",
)
BUDGET = Gauge(
    "featurehub_overhead_budget",
    "The share of the step time that featurehub's part may take; 0 where no budget is set.",
    multiprocess_mode="livemostrecent",
)
REFUSED = Gauge(
    "featurehub_overhead_refused",
    "What is refused to stay within the budget: 0 nothing, 1 new requests that read activations, 2 those with "
    "conditions, too.",
    multiprocess_mode="livemostrecent",
)


def publish(door: Door) -> None:
    """Sets the gauges."""
    for part, share in door.shares._asdict().items():
        SHARE.labels(part).set(share)
    BUDGET.set(door.budget or 0.0)
    REFUSED.set(door.refused)


async def watch(engine: SteeringEngine, door: Door) -> None:
    while True:
        with suppress(EngineUnavailable):
            door.see(await engine.overhead())
        publish(door)
        await asyncio.sleep(EVERY)


def stop(door: Door, task: "asyncio.Task[None]") -> None:
    """Opens the door, since what is no longer measured must not refuse anybody; logs why, if it is no shutdown."""
    door.refused = Refused.NOTHING
    if not task.cancelled():
        logger.error("what steering costs is no longer measured, and no budget kept: %r", task.exception())


@asynccontextmanager
async def watched(engine: SteeringEngine | None, door: Door) -> AsyncIterator[None]:
    """Reads the engine about once a second while the ``async with`` block runs; does nothing without an engine."""
    if engine is None:
        yield
        return
    async with running(watch(engine, door), partial(stop, door)):
        yield
