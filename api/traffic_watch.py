"""Hands the engine's samples to ``api.traffic`` while a server lives, and shows in ``/metrics`` what it finds."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import partial

from prometheus_client import Gauge
from starlette.concurrency import run_in_threadpool

from api.background import running
from api.budget import Door
from api.engine import SteeringEngine
from api.traffic import Traffic
from featurehub.errors import EngineUnavailable
from featurehub.input_drift.monitor import TrafficState

__all__ = ["publish", "traffic_watched"]

EVERY = 1.0
"""Seconds between two looks."""
SECONDS = Gauge(
    "featurehub_input_drift_seconds",
    "What sampling the traffic for input drift has taken of the engine so far.",
    multiprocess_mode="livemostrecent",
)
STATE = Gauge(
    "featurehub_input_drift_state",
    "1 for what is said of the traffic that an SAE reads, 0 for the rest: learning, normal, topics, outside or model.",
    ["sae", "state"],
    multiprocess_mode="livemostrecent",
)
EVIDENCE = Gauge(
    "featurehub_input_drift_evidence",
    "Evidence that the share of tokens with a high error rose (errors), or that features fire at other rates (rates); "
    "400 is an alarm.",
    ["sae", "of"],
    multiprocess_mode="livemostrecent",
)
TOKENS = Gauge(
    "featurehub_input_drift_tokens",
    "How many tokens were read since what is normal was known.",
    ["sae"],
    multiprocess_mode="livemostrecent",
)
HIGH_ERROR = Gauge(
    "featurehub_input_drift_high_error_share",
    "The share of the last tokens that an SAE reconstructs worse than nearly all of those that tell what is normal.",
    ["sae"],
    multiprocess_mode="livemostrecent",
)
logger = logging.getLogger("vllm.featurehub")


def publish(traffic: Traffic) -> None:
    """Sets the gauges."""
    SECONDS.set(traffic.seconds)
    for sae, monitor in list(traffic.monitors.items()):
        for state in TrafficState:
            STATE.labels(sae, str(state)).set(monitor.found is state)
        for name, value in zip(("errors", "rates"), monitor.evidence, strict=True):
            EVIDENCE.labels(sae, name).set(value)
        TOKENS.labels(sae).set(monitor.tokens)
        HIGH_ERROR.labels(sae).set(monitor.recent.error)


async def watch(engine: SteeringEngine, door: Door, traffic: Traffic) -> None:
    while True:
        with suppress(EngineUnavailable):
            await look(engine, door, traffic)
        await run_in_threadpool(publish, traffic)
        await asyncio.sleep(EVERY)


async def look(engine: SteeringEngine, door: Door, traffic: Traffic) -> None:
    """Hands samples on, if steering costs no more than its budget: this yields first. Raises EngineUnavailable."""
    if not door.refused:
        samples, seconds = await engine.sampled(traffic.options.share)
        await run_in_threadpool(traffic.take, samples, seconds)


def stop(traffic: Traffic, task: "asyncio.Task[None]") -> None:
    """Saves what is known; logs why, if it is no shutdown."""
    traffic.end()
    if not task.cancelled():
        logger.error("input drift is no longer watched: %r", task.exception())


@asynccontextmanager
async def traffic_watched(engine: SteeringEngine | None, door: Door, traffic: Traffic | None) -> AsyncIterator[None]:
    """Watches while the ``async with`` block runs; not without an engine, nor where another process does."""
    if engine is None or traffic is None or not traffic.start():
        yield
        return
    async with running(watch(engine, door, traffic), partial(stop, traffic)):
        yield
