"""Lets the engine read tokens that are there already, and returns what the features did on them."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from typing import Annotated

import msgspec
from pydantic import Field

from api.chat import plan_of
from api.deployment import Deployment
from api.engine import SteeringEngine, Tokens
from api.plan import Plan
from api.report import read_report
from api.request import SteeringRequest
from featurehub.errors import AmbiguousFeature, EngineUnavailable, NotFound, SteeringUnsupported
from featurehub.report import SteerReport
from featurehub.settings import Frozen

__all__ = ["CHARS", "Chat", "ChatMessage", "engine_of", "read", "reading_plan", "spans", "with_totals"]

CHARS = 1 << 20
"""Longest text or message, in characters."""
MESSAGES = 1000
PARAMS = {"return_activations": "features", "return_activations.sae": "sae"}
"""Our keys by those of a completion."""


class ChatMessage(Frozen):
    """A message of a chat.

    Attributes:
        role: "system", "user" or "assistant", or another that the chat template knows.
        content: What it says.
    """

    role: str = Field(min_length=1, max_length=64)
    content: str = Field(max_length=CHARS)


Chat = Annotated[tuple[ChatMessage, ...], Field(min_length=1, max_length=MESSAGES)]
"""The messages of a chat."""


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
    """The plan for these tokens, with totals over their content in every SAE that it reads, and a report of its own."""
    stretches = spans(tokens.content)
    reads = tuple(msgspec.structs.replace(each, totals=stretches) for each in plan.steering.reads)
    return replace(plan, steering=msgspec.structs.replace(plan.steering, reads=reads, report=uuid.uuid4().hex))


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


def reading_plan(asked: SteeringRequest, deployment: Deployment, model: str | None) -> Plan:
    """The plan of a request that only reads. Names that mean nothing are errors of our keys, not of a completion's."""
    try:
        return plan_of(asked, deployment, model)
    except (NotFound, AmbiguousFeature) as error:
        error.param = PARAMS.get(error.param or "", error.param)
        raise
