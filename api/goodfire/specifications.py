"""What a specification in words becomes: ``features/auto-edits``, ``features/auto-conditional`` and
``attributions/generate-contrastive-dataset`` of Goodfire's format.

Our own routes say why they found nothing. The client has no place for that and would go on unsteered, so that here it
is an error.
"""

import asyncio
from collections.abc import Sequence
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Request
from pydantic import Field

from api.analysis.autoconditional import AutoconditionalBody, autoconditional
from api.analysis.autosteer import autosteer
from api.analysis.autosteer_body import AutosteerBody
from api.analysis.neutral import PROMPTS
from api.analysis.reading import engine_of
from api.analysis.together import awaited
from api.analysis.trials import AT_ONCE, Answers, Asking, drawn
from api.deployment import CurrentDeployment, Deployment
from api.goodfire.numbers import LatentNumbers, Place
from api.goodfire.rows import FeatureList, GoodfireFeature, check_model, places_of, row_of
from featurehub.autosteer import INSTRUCTION_CHARS
from featurehub.errors import FeatureNotFound
from featurehub.settings import Frozen

__all__ = ["router"]

router = APIRouter(tags=["goodfire"])
Specification = Annotated[str, Field(min_length=1, max_length=INSTRUCTION_CHARS)]
STEER_PROMPTS, STEER_TOKENS, CANDIDATES = PROMPTS[:20], 24, 4
"""How an answer of AutoSteer is found within the minute for which the client waits."""
CHATS, CHAT_TOKENS = 6, 40
"""Chats in each set of a contrastive dataset, and their longest answer: the client waits for 30 seconds."""


class SpecificationBody(Frozen):
    """What the answers should be like, and what the server runs."""

    specification: Specification
    model: str


class DatasetBody(Frozen):
    """What the answers of the second set should be like."""

    specification: Specification


class Edits(Frozen):
    """Features, each with its value."""

    edits: tuple[tuple[GoodfireFeature, float], ...]


@router.post("/features/auto-edits")
async def auto_edits(deployment: CurrentDeployment, body: SpecificationBody, request: Request) -> Edits:
    """Edits that do what a specification asks, as ``POST /v1/features/autosteer`` finds and measures them."""
    check_model(body.model, deployment)
    asked = AutosteerBody(
        instruction=body.specification, model=body.model, prompts=STEER_PROMPTS, candidates=CANDIDATES,
        max_tokens=STEER_TOKENS,
    )  # fmt: skip
    found = await awaited(request, autosteer(deployment, asked))
    if not found.edits:
        raise FeatureNotFound(f"no edits do what {body.specification!r} asks: {found.reason}", param="specification")
    with deployment.store.read() as reader:
        numbers = LatentNumbers.of(deployment, reader)
    return Edits(
        edits=tuple((row_of(Place(each.sae, each.latent), each.label, numbers), each.weight) for each in found.edits)
    )


class FoundConditional(Frozen):
    """Whether any of some features is above or below a value."""

    left_hand: FeatureList
    right_hand: float
    operator: str


class FoundGroup(Frozen):
    """Conditions of which one is enough."""

    conditionals: tuple[FoundConditional, ...]
    operator: Literal["OR"] = "OR"


class Condition(Frozen):
    """The condition that was found."""

    conditional: FoundGroup


@router.post("/features/auto-conditional")
async def auto_conditional(deployment: CurrentDeployment, body: SpecificationBody, request: Request) -> Condition:
    """A condition that holds in chats of one kind, as ``POST /v1/features/autoconditional`` finds it."""
    check_model(body.model, deployment)
    asked = AutoconditionalBody(condition=body.specification, model=body.model)
    found = await awaited(request, autoconditional(deployment, asked))
    if not found.conditions:
        problem = f"no condition holds where {body.specification!r} does: {found.reason}"
        raise FeatureNotFound(problem, param="specification")
    with deployment.store.read() as reader:
        numbers = LatentNumbers.of(deployment, reader)
        places = places_of((each.feature for each in found.conditions), reader, deployment.scope)
    conditionals = (
        FoundConditional(
            left_hand=FeatureList(features=(row_of(places[each.feature], each.label, numbers),)),
            right_hand=each.value,
            operator=each.op,
        )
        for each in found.conditions
    )
    return Condition(conditional=FoundGroup(conditionals=tuple(conditionals)))


@router.post("/attributions/generate-contrastive-dataset")
async def contrastive_dataset(
    deployment: CurrentDeployment, body: DatasetBody, request: Request
) -> list[list[list[dict[str, Any]]]]:
    """Two sets of chats to contrast: the model's own answers as they are, and those that it gives when it is told."""
    engine, prompts = engine_of(deployment), PROMPTS[:CHATS]
    plain, told = await awaited(request, both(body.specification, prompts, deployment))

    def chats(answers: Answers) -> list[list[dict[str, Any]]]:
        return [
            [{"role": "user", "content": prompt}, {"role": "assistant", "content": text}]
            for prompt, text in zip(prompts, answers.texts(engine), strict=True)
        ]

    return await asyncio.to_thread(lambda: [chats(plain), chats(told)])


async def both(specification: str, prompts: Sequence[str], deployment: Deployment) -> tuple[Answers, Answers]:
    """The model's answers as they are, and those that it gives when it is told."""
    asking = Asking(deployment, {}, specification, CHAT_TOKENS + 1, 0.7, asyncio.Semaphore(AT_ONCE))
    async with deployment.measuring:
        return await drawn(asking, prompts, instructed=False), await drawn(asking, prompts, instructed=True)
