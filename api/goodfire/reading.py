"""``chat-attribution/…`` and ``chat/tokenize`` of Goodfire's format: what features do in chats that are there already.

Activations are shares of each feature's largest one (which the client takes to be 1), as conditions have them. Latents
that have no feature have no largest activation, and are left out.
"""

import asyncio
from collections.abc import Iterator
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Request
from fastapi.responses import Response
from pydantic import Field

from api.analysis.contrast import ContrastBody, Dataset, contrast
from api.analysis.reading import Chat, engine_of, read, reading_plan
from api.analysis.together import awaited
from api.answer import features_at
from api.deployment import CurrentDeployment, Deployment
from api.encoding import to_json
from api.engine import Tokens
from api.goodfire.controller import Controller, native
from api.goodfire.numbers import LatentNumbers, Place, uuid_of
from api.goodfire.rows import GoodfireFeature, check_model, places_of, row_of
from api.request import SteeringRequest
from featurehub.edits import TOP_K_MAX
from featurehub.report import SteerReport
from featurehub.settings import Frozen
from featurehub.store import Reader

__all__ = ["router"]

router = APIRouter(tags=["goodfire"])
Numbers = Annotated[tuple[int, ...], Field(max_length=TOP_K_MAX)]


class FeaturesBody(Frozen):
    """The body of a request for activations.

    Attributes:
        messages: The chat.
        model: What the server runs.
        aggregate_by: What the client makes of the answer; each token's activations serve for all of them.
        controller: What steers the reading; None for nothing.
        include_feature_indexes: Numbers of the only features that are read; empty for each token's strongest 64 of
            every SAE.
    """

    messages: Chat
    model: str
    aggregate_by: Literal["count", "mean", "max", "sum"] = "count"
    controller: Controller | None = None
    include_feature_indexes: Numbers = ()

    def asked(self, numbers: LatentNumbers, deployment: Deployment) -> SteeringRequest:
        """What is read, as a completion would ask for it. Raises FeatureNotFound and what ``native`` raises."""
        addresses = [f"sae:{sae}/{latent}" for sae, latent in numbers.places(self.include_feature_indexes)]
        reads = {"features": addresses} if addresses else {"top_k": TOP_K_MAX}
        return SteeringRequest.take(native(self.controller) | {"return_activations": reads}, deployment.limits)


class ContrastedChats(Frozen):
    """The body of a contrast.

    Attributes:
        dataset_1: Chats.
        dataset_2: Chats that lack what those have.
        k_to_add, k_to_remove: How many features are returned of the first set, and of the second.
        model: What the server runs.
    """

    dataset_1: Dataset
    dataset_2: Dataset
    k_to_add: Annotated[int, Field(ge=1, le=100)] = 5
    k_to_remove: Annotated[int, Field(ge=1, le=100)] = 5
    model: str


class ContrastedFeatures(Frozen):
    """The features that tell two sets of chats apart, those of each with the largest effect first."""

    dataset_1_features: tuple[GoodfireFeature, ...]
    dataset_2_features: tuple[GoodfireFeature, ...]


class TokenizedBody(Frozen):
    """A chat, and what the server runs."""

    messages: Chat
    model: str


class TokenText(Frozen):
    """The text that a token adds to those before it."""

    value: str


class TokenTexts(Frozen):
    """The tokens of a chat."""

    tokens: tuple[TokenText, ...]


@router.post("/chat/tokenize")
async def tokenize(deployment: CurrentDeployment, body: TokenizedBody) -> TokenTexts:
    """The tokens of a chat as the model reads them."""
    check_model(body.model, deployment)
    engine = engine_of(deployment)
    tokens = await asyncio.to_thread(engine.tokens, [each.model_dump() for each in body.messages])
    texts = await asyncio.to_thread(engine.pieces, tokens.ids)
    return TokenTexts(tokens=tuple(TokenText(value=each) for each in texts))


@router.post("/chat-attribution/compute-features")
async def compute_features(deployment: CurrentDeployment, body: FeaturesBody) -> Response:
    """What the features do at each token of a chat, strongest first."""
    check_model(body.model, deployment)
    engine = engine_of(deployment)
    with deployment.store.read() as reader:
        asked = body.asked(LatentNumbers.of(deployment, reader), deployment)
    deployment.door.check(asked)
    tokens = await asyncio.to_thread(engine.tokens, [each.model_dump() for each in body.messages])
    plan = await asyncio.to_thread(reading_plan, asked, deployment, body.model)
    report = await read(tokens, plan, deployment)
    return await asyncio.to_thread(attributions, tokens, report, deployment)


def attributions(tokens: Tokens, report: SteerReport, deployment: Deployment) -> Response:
    """The answer to ``compute_features``."""
    with deployment.store.read() as reader:
        rows = [*token_rows(report, LatentNumbers.of(deployment, reader), reader, len(tokens.ids))]
    texts = engine_of(deployment).pieces(tokens.ids)
    content = [{"token": text, "attributions": own} for text, own in zip(texts, rows, strict=True)]
    return Response(to_json({"tokens": content}), media_type="application/json")


def token_rows(
    report: SteerReport, numbers: LatentNumbers, reader: Reader, tokens: int
) -> Iterator[list[dict[str, Any]]]:
    """The features of each token, strongest first."""
    found: list[list[dict[str, Any]]] = [[] for _ in range(tokens)]
    for block in report.activations.blocks if report.activations is not None else ():
        places = [Place(block.sae, latent) for latent in block.distinct()]
        known = {each.latent: each for each in features_at(places, reader).values() if each.max_activation > 0}
        shown = {
            latent: {"id": str(uuid_of(block.sae, latent)), "index_in_sae": numbers.number(block.sae, latent)}
            for latent in known
        }
        for position, _, latents, activations in block.rows():
            found[position] += [
                {**shown[latent], "activation_strength": activation / known[latent].max_activation}
                for latent, activation in dict(zip(latents, activations, strict=True)).items()
                if latent in known
            ]
    for own in found:
        yield sorted(own, key=lambda each: -each["activation_strength"])


@router.post("/chat-attribution/contrast")
async def contrast_chats(deployment: CurrentDeployment, body: ContrastedChats, request: Request) -> ContrastedFeatures:
    """The features that tell two sets of chats apart, as ``POST /v1/features/contrast`` finds them."""
    check_model(body.model, deployment)
    limit = max(body.k_to_add, body.k_to_remove)
    asked = ContrastBody(model=body.model, dataset_1=body.dataset_1, dataset_2=body.dataset_2, limit=limit)
    found = await awaited(request, contrast(deployment, asked))
    kept = found.dataset_1[: body.k_to_add], found.dataset_2[: body.k_to_remove]
    with deployment.store.read() as reader:
        numbers = LatentNumbers.of(deployment, reader)
        places = places_of((row.id for side in kept for row in side), reader, deployment.scope)
        first, second = (tuple(row_of(places[row.id], row.label, numbers) for row in side) for side in kept)
    return ContrastedFeatures(dataset_1_features=first, dataset_2_features=second)
