"""How the served SAEs stand on what runs, as gauges in vLLM's ``/metrics``."""

import asyncio
import logging
from contextlib import AbstractAsyncContextManager

from prometheus_client import Gauge
from sqlalchemy.exc import SQLAlchemyError
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import State as AppState

from api.background import running
from api.deployment import Deployment
from api.states import served_saes
from featurehub.errors import FeaturehubError
from featurehub.features import State

__all__ = ["publish", "published"]

EVERY = 15.0
"""Seconds from one look to the next."""
STATE = Gauge(
    "featurehub_sae_state",
    "1 for the state that an SAE has on what the server runs, 0 for the others.",
    ["sae", "state"],
    multiprocess_mode="livemostrecent",
)
logger = logging.getLogger("vllm.featurehub")


def publish(deployment: Deployment) -> None:
    """Sets the gauges; leaves them where the database cannot be read, or no model is loaded."""
    if deployment.served is None:
        return
    try:
        with deployment.store.read() as reader:
            saes = served_saes(reader, deployment.served)
    except (SQLAlchemyError, FeaturehubError) as error:
        logger.warning("the states of SAEs cannot be read: %s", error)
        return
    STATE.clear()
    for sae in saes:
        for state in State:
            STATE.labels(sae.name, str(state)).set(sae.state is state)


async def watch(held: AppState) -> None:
    while True:
        await run_in_threadpool(publish, held.featurehub)
        await asyncio.sleep(EVERY)


def stop(task: "asyncio.Task[None]") -> None:
    """Logs why, if it is no shutdown."""
    if not task.cancelled():
        logger.error("the gauges of SAEs' states are no longer set: %r", task.exception())


def published(held: AppState) -> AbstractAsyncContextManager[None]:
    """Sets the gauges again and again while the ``async with`` block runs.

    Args:
        held: The app's state.
    """
    return running(watch(held), stop)
