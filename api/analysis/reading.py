"""Lets the engine read tokens that are there already: what the features did on them, and how likely next tokens are."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from typing import Annotated, Any, NamedTuple, Self

import msgspec
from pydantic import Field, model_validator

from api.chat import plan_of
from api.deployment import Deployment
from api.engine import SteeringEngine, Tokens
from api.plan import Plan
from api.report import read_report
from api.request import SteeringRequest
from featurehub.activations import ActivationTotals
from featurehub.edits import Steering
from featurehub.errors import AmbiguousFeature, EngineUnavailable, InvalidInput, NotFound, SteeringUnsupported
from featurehub.report import SteerReport
from featurehub.settings import Frozen

__all__ = [
    "CHARS",
    "Chat",
    "ChatMessage",
    "ChatOrText",
    "Scored",
    "engine_of",
    "read",
    "reading_plan",
    "refuse_other",
    "scored",
    "spans",
    "taken",
    "totals",
    "totals_in",
    "under",
    "with_totals",
]

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


class ChatOrText(Frozen):
    """What a request gives to read.

    Attributes:
        model: As in a chat completion; left out, the model that is served.
        messages: The chat.
        text: The text.
    """

    model: str | None = None
    messages: Chat | None = None
    text: str | None = Field(default=None, min_length=1, max_length=CHARS)

    @model_validator(mode="after")
    def one_of_both(self) -> Self:
        """Refuses a body with a chat and a text, or with neither."""
        if (self.messages is None) == (self.text is None):
            raise ValueError('give "messages" or "text", one of both')
        return self

    @property
    def entry(self) -> str | list[dict[str, Any]]:
        """The text, or the chat's messages."""
        return self.text if self.text is not None else [each.model_dump() for each in self.messages or ()]


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
    return under(plan, msgspec.structs.replace(plan.steering, reads=reads))


def under(plan: Plan, steering: Steering) -> Plan:
    """The plan with another steering, whose report has a key of its own."""
    return replace(plan, steering=msgspec.structs.replace(steering, report=uuid.uuid4().hex))


async def read(tokens: Tokens, plan: Plan, deployment: Deployment) -> SteerReport:
    """What the engine reports on these tokens.

    Raises:
        SteeringLost: Some of what should be read was not.
        EngineUnavailable: The engine is gone.
    """
    return (await scored(tokens.ids, plan, deployment)).report


class Scored(NamedTuple):
    """What came of reading some tokens.

    Attributes:
        logprobs: Log-probabilities of next tokens, as ``SteeringEngine.run`` returns them.
        report: What the engine reports.
    """

    logprobs: Mapping[int, float]
    report: SteerReport


async def scored(
    ids: Sequence[int], plan: Plan, deployment: Deployment, *, top: int = 0, chosen: int | None = None
) -> Scored:
    """Lets the engine read these tokens under a plan, which may ask for nothing.

    Args:
        ids: The tokens.
        plan: Its report key must not have been used before.
        deployment: The server.
        top: Of how many of the likeliest next tokens the log-probability is asked for.
        chosen: A token whose log-probability is asked for too.

    Raises:
        SteeringLost: Some of what the plan asks for was not done.
        InvalidInput: The engine returns fewer log-probabilities, or has no such token.
        EngineUnavailable: The engine is gone.
    """
    engine = engine_of(deployment)
    if not plan.reaches_engine:
        return Scored(await engine.run(ids, Steering(), top=top, chosen=chosen), SteerReport())
    with deployment.users.using(plan.hooks):
        async with taken(plan.steering.report, engine):
            logprobs = await engine.run(ids, plan.steering, top=top, chosen=chosen)
            raw = await engine.report(plan.steering.report)
    return Scored(logprobs, await asyncio.to_thread(read_report, raw, plan.steering, plan.hooks))


@asynccontextmanager
async def taken(report: str, engine: SteeringEngine) -> AsyncIterator[None]:
    """Drops the report of this key, which nobody else would take, where the request for it is given up."""
    try:
        yield
    except BaseException:
        with suppress(EngineUnavailable):
            await engine.report(report)
        raise


async def totals(chat: Chat, plan: Plan, deployment: Deployment) -> Sequence[ActivationTotals]:
    """What all features of the plan's SAEs did over a chat's content. Raises as ``read`` does, and InvalidInput."""
    tokens = await asyncio.to_thread(engine_of(deployment).tokens, [each.model_dump() for each in chat])
    return totals_in(await read(tokens, with_totals(plan, tokens), deployment))


def totals_in(report: SteerReport) -> Sequence[ActivationTotals]:
    """The totals in a report, by SAE."""
    return report.activations.totals if report.activations is not None else ()


def refuse_other(model: str | None, deployment: Deployment) -> None:
    """Raises InvalidInput where a request names another model than the one that is read here."""
    served = deployment.served
    if model and served is not None and model not in served.names:
        raise InvalidInput(
            f"texts are read and written here by the model itself, {' or '.join(map(repr, served.names))}, and "
            f'{model!r} is another; leave out "model"',
            param="model",
        )


def reading_plan(asked: SteeringRequest, deployment: Deployment, model: str | None) -> Plan:
    """The plan of a request that only reads. Names that mean nothing are errors of our keys, not of a completion's.

    Raises:
        InvalidInput: It names an adapter or a variant as its model, which would not be read.
    """
    refuse_other(model, deployment)
    try:
        return plan_of(asked, deployment, model)
    except (NotFound, AmbiguousFeature) as error:
        error.param = PARAMS.get(error.param or "", error.param)
        raise
