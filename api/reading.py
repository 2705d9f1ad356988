"""Lets the engine read tokens that are there already, and returns what the features did on them."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace

import msgspec

from api.deployment import Deployment
from api.engine import SteeringEngine, Tokens
from api.plan import Plan
from api.report import read_report
from featurehub.errors import EngineUnavailable, SteeringUnsupported
from featurehub.report import SteerReport

__all__ = ["engine_of", "read", "spans", "with_totals"]


def engine_of(deployment: Deployment) -> SteeringEngine:
    """The running engine. Raises SteeringUnsupported where there is none."""
    if deployment.engine is None or deployment.served is None:
        raise SteeringUnsupported(
            "this server hosts the registry alone and reads no text; ask a server that `featurehub serve` started"
        )
    return deployment.engine


def spans(content: list[bool]) -> tuple[tuple[int, int], ...]:
    """The stretches of positions that are true, each from its first to the one after its last."""
    edges = [
        at for at, (before, own) in enumerate(zip([False, *content], [*content, False], strict=True)) if before != own
    ]
    return tuple(zip(edges[::2], edges[1::2], strict=True))


def with_totals(plan: Plan, tokens: Tokens) -> Plan:
    """The plan, with totals over the content of the tokens in every SAE that it reads."""
    stretches = spans(tokens.content)
    reads = tuple(msgspec.structs.replace(each, totals=stretches) for each in plan.steering.reads)
    return replace(plan, steering=msgspec.structs.replace(plan.steering, reads=reads))


async def read(tokens: Tokens, plan: Plan, deployment: Deployment) -> SteerReport:
    """What the engine reports on these tokens.

    Raises:
        SteeringLost: Some of what should be read was not.
        EngineUnavailable: The engine is gone.
    """
    engine = engine_of(deployment)
    async with counted(plan, deployment):
        await engine.run(tokens.ids, plan.steering)
        raw = await engine.report(plan.steering.report)
    return await asyncio.to_thread(read_report, raw, plan.steering, plan.hooks)


@asynccontextmanager
async def counted(plan: Plan, deployment: Deployment) -> AsyncIterator[None]:
    """Counts the request among those that use its SAEs; where it is given up, its report is dropped."""
    deployment.users.come(plan.hooks)
    try:
        yield
    except BaseException:
        with suppress(EngineUnavailable):
            await engine_of(deployment).report(plan.steering.report)
        raise
    finally:
        deployment.users.go(plan.hooks)
