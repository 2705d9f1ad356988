"""``POST /v1/features/logits``: how likely the next tokens of a chat or text are, with and without its features.

1. The chat is rendered for the model to write on (``SteeringEngine.tokens``), and names become a plan (``api.plan``).
2. The engine reads it without any steering, and once more under the plan, if there is one.
3. What vLLM returns are log-probabilities of the model's whole distribution, which are its logits up to a number that
   all tokens share: differences of them are differences of logits.
"""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from fastapi import APIRouter
from pydantic import Field

from api.analysis.next_tokens import Token, next_tokens, token_id
from api.analysis.reading import ChatOrText, Scored, engine_of, refuse_other, scored, under
from api.analysis.together import together
from api.answer import make_answer
from api.chat import plan_of
from api.deployment import CurrentDeployment, Deployment
from api.plan import Plan
from api.request import SteeringRequest
from api.used_variant import on_variant
from featurehub.answers import Notice, SaeReport
from featurehub.edits import Steering
from featurehub.features import AppliedEdit
from featurehub.next_tokens import TOP_MAX, NextToken
from featurehub.settings import Frozen

__all__ = ["Logits", "LogitsBody", "logits", "router"]

router = APIRouter(prefix="/v1/features", tags=["features"])


class LogitsBody(ChatOrText):
    """The body of a request: a chat or a text.

    Attributes:
        features: The edits, as in a completion.
        steer: As in a completion.
        top_k: How many of the likeliest tokens are returned, in [1, 1000]; the server may have a lower bound (vLLM's
            ``--max-logprobs``, by default 20).
        tokens: Tokens that are returned besides, however likely they are: texts of one token, or ids. At most 32.
    """

    features: dict[str, Any] = Field(default_factory=dict)
    steer: dict[str, Any] = Field(default_factory=dict)
    top_k: Annotated[int, Field(ge=1, le=TOP_MAX, strict=True)] = 10
    tokens: tuple[Token, ...] = Field(default=(), max_length=32)


class Logits(Frozen):
    """The likeliest next tokens.

    Attributes:
        object: Always "logits".
        position: Index that the next token would have in what was read.
        tokens: The likeliest under the request's features, likeliest first, then those that were asked for by name.
        unsteered: The same without features; None where the request has none.
        applied: The edits, each with what the engine counted.
        saes: The SAEs of these.
        warnings: What the client should know.
    """

    object: Literal["logits"] = "logits"
    position: int
    tokens: tuple[NextToken, ...]
    unsteered: tuple[NextToken, ...] | None
    applied: tuple[AppliedEdit, ...]
    saes: tuple[SaeReport, ...]
    warnings: tuple[Notice, ...]


@router.post("/logits")
async def logits(deployment: CurrentDeployment, body: LogitsBody) -> Logits:
    """How likely the next tokens of a chat or text are, with and without features."""
    engine = engine_of(deployment)
    asked = SteeringRequest.take({"features": body.features, "steer": body.steer}, deployment.limits)
    model = body.model
    if deployment.served is not None and model and model not in deployment.served.names:
        asked, model = await asyncio.to_thread(on_variant, asked, model, deployment)
        # Nothing is generated that could be ended.
        asked = asked.model_copy(update={"aborts": ()})
    refuse_other(model, deployment)
    if not asked.is_nothing:
        deployment.door.check(asked)
    ids = (await asyncio.to_thread(engine.tokens, body.entry, to_continue=True)).ids
    plan = await asyncio.to_thread(plan_of, asked, deployment, model)
    named = await asyncio.to_thread(lambda: [token_id(each, "tokens", engine) for each in body.tokens])
    found = await distribution(ids, plan, body.top_k, named, deployment)
    without = await distribution(ids, under(plan, Steering()), body.top_k, named, deployment) if asked.edits else None
    return await asyncio.to_thread(answer, ids, plan, found, without, deployment)


async def distribution(
    ids: Sequence[int], plan: Plan, top_k: int, named: Sequence[int], deployment: Deployment
) -> Scored:
    """The log-probabilities of the likeliest tokens and of the named ones under a plan, and its first report."""
    likeliest = await scored(ids, plan, deployment, top=top_k)
    missing = [token for token in dict.fromkeys(named) if token not in likeliest.logprobs]

    async def one(token: int) -> Mapping[int, float]:
        return (await scored(ids, under(plan, plan.steering), deployment, chosen=token)).logprobs

    others = await together(one, missing)
    return likeliest._replace(logprobs={**likeliest.logprobs, **{k: v for each in others for k, v in each.items()}})


def answer(ids: Sequence[int], plan: Plan, found: Scored, without: Scored | None, deployment: Deployment) -> Logits:
    engine = engine_of(deployment)
    done = make_answer(plan, [found.report], {}, engine)
    return Logits(
        position=len(ids),
        tokens=next_tokens(ids, found.logprobs, engine),
        unsteered=None if without is None else next_tokens(ids, without.logprobs, engine),
        applied=done.applied,
        saes=done.saes,
        warnings=done.warnings,
    )
