"""``chat-attribution/compute-logits`` and ``attributions/compute-logit-attribution`` of Goodfire's format."""

from typing import Annotated

from fastapi import APIRouter, Request
from pydantic import Field

from api.analysis.attribute import FIRST, AttributeBody, Attribution, attribute
from api.analysis.logits import LogitsBody, logits
from api.analysis.next_tokens import token_id
from api.analysis.reading import Chat, engine_of
from api.analysis.together import awaited
from api.answer import features_at
from api.deployment import CurrentDeployment, Deployment
from api.goodfire.controller import Controller, native
from api.goodfire.numbers import LatentNumbers, uuid_of
from api.goodfire.rows import check_model, places_of
from api.request import Name
from featurehub.attribution import AttributedToken
from featurehub.errors import InvalidInput
from featurehub.settings import Frozen

__all__ = ["router"]

CANDIDATES, LIMIT, TOKENS = 24, 12, 2
"""How many features an attribution ablates, how many it returns, and at how many tokens each is ablated by itself: the
client waits for 10 seconds."""
router = APIRouter(tags=["goodfire"])
Tokens = Annotated[tuple[Name, ...], Field(min_length=1, max_length=32)]


class LogitsOf(Frozen):
    """The body of a request for the next token's logits.

    Attributes:
        messages: The chat.
        model: What the server runs.
        top_k: How many tokens are returned; vLLM's ``--max-logprobs`` bounds it, by default at 20.
        filter_vocabulary: The only tokens that are returned, by their texts.
        controller: What steers the reading; None for nothing.
    """

    messages: Chat
    model: str
    top_k: Annotated[int, Field(ge=1, le=1000)] | None = None
    filter_vocabulary: Tokens | None = None
    controller: Controller | None = None


class TokenLogits(Frozen):
    """Log-probabilities of next tokens by their texts, the likeliest first: logits up to a number that all share."""

    logits: dict[str, float]


class AttributionOf(Frozen):
    """The body of an attribution.

    Attributes:
        messages: The chat.
        model: What the server runs.
        start_index: Index of the token to explain, counted as ``chat/tokenize`` does.
        end_index: The same.
    """

    messages: Chat
    model: str
    start_index: int = Field(alias="startIndex", ge=FIRST)
    end_index: int = Field(alias="endIndex")


class ActiveToken(Frozen):
    """A token at which a feature is active, and the share of the feature's largest activation."""

    index: int
    activation_strength: float


class FeatureEffect(Frozen):
    """A feature, and how many nats of a token's log-probability are lost where it is ablated.

    Attributes:
        id: The feature's UUID.
        index_in_sae: Its number.
        value: The loss; below 0 where the feature held the token back.
        tokens: Where it is active, the tokens that count most.
    """

    id: str
    index_in_sae: int
    value: float
    tokens: tuple[ActiveToken, ...]


class FeatureEffects(Frozen):
    """The features with the largest effects on a token, and how many tokens stand before it."""

    to_ablate: tuple[FeatureEffect, ...]
    num_input_tokens: int


@router.post("/chat-attribution/compute-logits")
async def compute_logits(deployment: CurrentDeployment, body: LogitsOf) -> TokenLogits:
    """How likely the next tokens of a chat are, as ``POST /v1/features/logits`` says."""
    check_model(body.model, deployment)
    engine = engine_of(deployment)
    chosen = {token_id(text, "filter_vocabulary", engine): text for text in body.filter_vocabulary or ()}
    top_k = 1 if chosen else body.top_k or 10
    features = native(body.controller)["features"]
    asked = LogitsBody(
        model=body.model, messages=body.messages, features=features, top_k=top_k, tokens=tuple(chosen)
    )  # fmt: skip
    found: dict[str, float] = {}
    for each in sorted((await logits(deployment, asked)).tokens, key=lambda each: -each.logprob):
        if not chosen or each.id in chosen:
            found.setdefault(chosen.get(each.id, each.text), each.logprob)
    return TokenLogits(logits=dict([*found.items()][: body.top_k]))


@router.post("/attributions/compute-logit-attribution")
async def compute_attribution(deployment: CurrentDeployment, body: AttributionOf, request: Request) -> FeatureEffects:
    """Which features made a token of a chat likely, as ``POST /v1/features/attribute`` measures it."""
    check_model(body.model, deployment)
    if body.start_index != body.end_index:
        raise InvalidInput("one token is explained at a time: startIndex and endIndex are the same", param="endIndex")
    asked = AttributeBody(
        model=body.model, messages=body.messages, position=body.start_index, candidates=CANDIDATES, limit=LIMIT,
        tokens=TOKENS,
    )  # fmt: skip
    return effects(await awaited(request, attribute(deployment, asked)), deployment)


def effects(found: Attribution, deployment: Deployment) -> FeatureEffects:
    """The rows of our own answer. Latents that have no feature are left out, as everywhere here."""
    with deployment.store.read() as reader:
        numbers = LatentNumbers.of(deployment, reader)
        places = places_of((each.id for each in found.features), reader, deployment.scope)
        known = features_at(places.values(), reader)
    rows = [(places[each.id], each) for each in found.features if places[each.id] in known]
    return FeatureEffects(
        to_ablate=tuple(
            FeatureEffect(
                id=str(uuid_of(*place)),
                index_in_sae=numbers.number(*place),
                value=each.effect,
                tokens=tuple(active(token, known[place].max_activation) for token in each.tokens),
            )
            for place, each in rows
        ),
        num_input_tokens=found.position,
    )


def active(token: AttributedToken, largest: float) -> ActiveToken:
    return ActiveToken(index=token.position, activation_strength=token.activation / largest if largest else 0.0)
