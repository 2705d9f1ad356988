"""Follows the weights on the device: what lay there when the server started, and whether they were replaced since.

1. Before the first request every tensor is summed where it lies (``featurehub.engine.checksum``). That is the identity
   of what the fingerprint of the files describes.
2. The engine sums them again whenever something may have replaced them (``featurehub.engine.updates``). About once a
   second the server asks which they are; an answer over which they changed says so itself (``api.replacement``).
3. Where they are others, what is known of the files says nothing any more: every SAE is unchecked, unless a drift
   report was made on these very weights. New KV blocks get another salt. Where the first come back, all is as before.
"""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager, suppress
from dataclasses import replace

from prometheus_client import Gauge
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import State

from api.background import running
from api.deployment import Deployment
from api.engine import SteeringEngine
from api.model import ServedModel
from featurehub.artifacts.manifest import HookPoint
from featurehub.artifacts.parts import reads_hook
from featurehub.errors import EngineUnavailable
from featurehub.store import Store

__all__ = ["booted", "changed", "follow", "followed"]

EVERY = 1.0
"""Seconds between two looks."""
REPLACED = Gauge(
    "featurehub_weights_replaced",
    "1 while the weights on the device are others than when the server started, else 0.",
    multiprocess_mode="livemostrecent",
)
logger = logging.getLogger("vllm.featurehub")


async def booted(served: ServedModel, engine: SteeringEngine) -> ServedModel:
    """Step 1: the model with the identity of its weights. Raises EngineUnavailable."""
    weights = await engine.weights()
    engine.renew(served.salt(weights.identity))
    logger.info("%d tensors on the device have the checksum %s", len(weights.sums), weights.identity)
    return served.model_copy(update={"booted": weights.identity, "loaded": weights.identity, "sums": weights.sums})


async def follow(state: State) -> None:
    """Steps 2 and 3, once.

    Args:
        state: The app's state, whose ``featurehub`` is replaced where the weights were.

    Raises:
        EngineUnavailable: The engine is gone.
    """
    deployment: Deployment = state.featurehub
    engine, served = deployment.engine, deployment.served
    if engine is None or served is None or await engine.identity() == served.loaded:
        return
    weights = await engine.weights()
    engine.renew(served.salt(weights.identity))
    known = await run_in_threadpool(function_of, weights.identity, deployment.store)
    now: Deployment = state.featurehub  # An exchange of SAEs may have replaced it meanwhile.
    assert now.served is not None
    served = now.served.model_copy(update={"loaded": weights.identity, "known_as": known})
    tell(served, weights.sums)
    state.featurehub = replace(now, served=served)
    REPLACED.set(served.replaced)


def function_of(identity: str, store: Store) -> str:
    """The fingerprint of the function that drift reports on these weights are about; "" without any."""
    with store.read() as reader:
        return reader.function_of_weights(identity)


def tell(served: ServedModel, sums: Mapping[str, str]) -> None:
    """Logs what became of the weights."""
    if not served.replaced:
        logger.warning("the weights on the device are those again with which the server started (%s)", served.loaded)
        return
    where = "; ".join(f"{point}: {parts}" for point, parts in changed(served.sums, sums, served.points).items())
    states = "the drift reports on them count" if served.known_as else "every SAE is unchecked"
    logger.warning(
        "the weights on the device were replaced (%s to %s): %s. %s", served.booted, served.loaded, states, where
    )


def changed(before: Mapping[str, str], after: Mapping[str, str], points: Sequence[HookPoint]) -> dict[str, str]:
    """In which parts, as seen from each hook point, tensors changed.

    Args:
        before: Checksums by name.
        after: The same afterwards; none while the weights are being replaced.
        points: The hook points.

    Returns:
        By name of the hook point, a phrase.
    """
    if not after:
        return {str(point): "not known yet" for point in points}
    names = [name for name in before.keys() | after.keys() if before.get(name) != after.get(name)]
    found: dict[str, str] = {}
    for point in points:
        up_to = sum(reads_hook(name, point) for name in names)
        found[str(point)] = f"{up_to} tensors up to it changed, {len(names) - up_to} behind it"
    return found


async def watch(state: State) -> None:
    while True:
        with suppress(EngineUnavailable):
            await follow(state)
        await asyncio.sleep(EVERY)


def stop(task: "asyncio.Task[None]") -> None:
    """Logs why, if it is no shutdown: answers still say when weights were replaced, lists of SAEs no longer do."""
    if not task.cancelled():
        logger.error("the weights on the device are no longer followed: %r", task.exception())


def followed(state: State) -> AbstractAsyncContextManager[None]:
    """Follows the weights while the ``async with`` block runs."""
    return running(watch(state), stop)
