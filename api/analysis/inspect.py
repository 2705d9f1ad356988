"""``POST /v1/features/inspect``: what the features of the served SAEs do in a chat or text that is there already.

1. The text becomes tokens as the model reads them, and names become a plan (``api.plan``).
2. The engine reads the tokens once. Each token's strongest features come back, and totals of all features over the
   content: what people and the model said, without special tokens and what the chat template adds.
3. Over the n tokens of the content, a feature's frequency is the share on which it is active, its mean Σa / n; the
   strongest features of the whole are those with the largest mean, or by another of these numbers.
"""

import asyncio
from collections.abc import Iterator, Mapping
from typing import Annotated, Literal

import numpy as np
from fastapi import APIRouter
from pydantic import Field, SkipValidation

from api.analysis.reading import ChatOrText, engine_of, read, reading_plan, with_totals
from api.answer import Labels, labels_of, named, token_activations
from api.deployment import CurrentDeployment, Deployment
from api.engine import SteeringEngine, Tokens
from api.plan import Plan
from api.request import Name, ReturnActivations, SteeringRequest
from featurehub.activations import ActivationTotals
from featurehub.answers import Notice, ServedSae, TokenActivations
from featurehub.edits import TOP_K_MAX
from featurehub.features import OnStale, SteerOptions
from featurehub.report import SteerReport
from featurehub.settings import Frozen
from featurehub.totals import TotalActivation

__all__ = ["InspectBody", "Inspection", "TokenInspection", "router"]

router = APIRouter(prefix="/v1/features", tags=["features"])


class InspectBody(ChatOrText):
    """The body of a request: a chat or a text.

    Attributes:
        sae: The only SAE that is asked, by its id, name or alias; None for all that are served.
        features: Features whose activations every token shows, active or not; at most 64.
        top_k: How many of its strongest features each token shows, in [1, 64].
        by: What the strongest features of the whole have most of.
        limit: How many of them are returned, in [1, 1000].
        on_stale: What to do where one of ``features`` is stale; None leaves it to the server.
    """

    sae: Name | None = None
    features: tuple[Name, ...] = Field(default=(), max_length=TOP_K_MAX)
    top_k: Annotated[int, Field(ge=1, le=TOP_K_MAX, strict=True)] = 8
    by: Literal["mean", "max", "sum", "frequency"] = "mean"
    limit: Annotated[int, Field(ge=1, le=1000, strict=True)] = 20
    on_stale: OnStale | None = None

    @property
    def asked(self) -> SteeringRequest:
        """What is read, as a completion would ask for it."""
        reads = ReturnActivations(top_k=self.top_k, sae=self.sae, features=self.features)
        return SteeringRequest(reads=reads, steer=SteerOptions(on_stale=self.on_stale))


class TokenInspection(TokenActivations):
    """A token with its features in one SAE.

    Attributes:
        content: Whether it is somebody's words, which totals are over.
    """

    content: bool


class Inspection(Frozen):
    """What the features do in a chat or text.

    Attributes:
        object: Always "inspection".
        tokens: One entry per token and SAE, SAE by SAE.
        content_tokens: How many tokens the totals are over.
        top: The strongest features of the whole, strongest first.
        saes: The SAEs that were asked, with their states on the loaded model.
        warnings: What the client should know.
    """

    object: Literal["inspection"] = "inspection"
    tokens: SkipValidation[list[TokenInspection]]
    content_tokens: int
    top: tuple[TotalActivation, ...]
    saes: tuple[ServedSae, ...]
    warnings: tuple[Notice, ...]


@router.post("/inspect")
async def inspect(deployment: CurrentDeployment, body: InspectBody) -> Inspection:
    """What the features do in a chat or text: at each token, and in the whole."""
    engine = engine_of(deployment)
    deployment.door.check(body.asked)
    tokens = await asyncio.to_thread(engine.tokens, body.entry)
    plan = with_totals(await asyncio.to_thread(reading_plan, body.asked, deployment, body.model), tokens)
    report = await read(tokens, plan, deployment)
    return await asyncio.to_thread(inspection, body, tokens, plan, report, deployment)


def inspection(
    body: InspectBody, tokens: Tokens, plan: Plan, report: SteerReport, deployment: Deployment
) -> Inspection:
    """Step 3."""
    assert report.activations is not None
    count, found = sum(tokens.content), report.activations
    strongest = strongest_of(found.totals, body, count)
    latents = {(block.sae, latent) for block in found.blocks for latent in block.distinct()}
    with deployment.store.read() as reader:
        known = labels_of(latents | {(sae, latent) for sae, latent, _ in strongest}, reader)
    return Inspection(
        tokens=[*token_rows(tokens, report, known, engine_of(deployment))],
        content_tokens=count,
        top=tuple(total(sae, latent, numbers, known) for sae, latent, numbers in strongest),
        saes=plan.saes,
        warnings=plan.notices,
    )


Strongest = list[tuple[str, int, dict[str, float]]]
"""The SAE, the latent, and its numbers by name."""


def strongest_of(totals: tuple[ActivationTotals, ...], body: InspectBody, tokens: int) -> Strongest:
    """The strongest latents of all SAEs."""
    found: Strongest = []
    for each in totals:
        latents, counts, sums, maxima = each.arrays()
        columns = {"frequency": counts / tokens, "mean": sums / tokens, "max": maxima, "sum": sums}
        order = np.argsort(-columns[body.by], kind="stable")[: body.limit]
        found += [(each.sae, int(latents[i]), {name: float(c[i]) for name, c in columns.items()}) for i in order]
    return sorted(found, key=lambda row: (-row[2][body.by], row[:2]))[: body.limit]


def total(sae: str, latent: int, numbers: Mapping[str, float], known: Labels) -> TotalActivation:
    id, label = named(sae, latent, known)
    return TotalActivation(id=id, label=label, sae=sae, **numbers)


def token_rows(tokens: Tokens, report: SteerReport, known: Labels, engine: SteeringEngine) -> Iterator[TokenInspection]:
    for block in report.activations.blocks if report.activations is not None else ():
        for row in token_activations(block, known, engine):
            yield {**row, "content": tokens.content[row["position"]]}
