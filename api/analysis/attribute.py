"""``POST /v1/features/attribute``: which features, and at which earlier tokens, made this token likely.

1. The chat or text becomes n tokens. Token p is explained by the tokens 0 … p − 1, which the model read before it.
2. What is explained is v = log P(p), or with another token beside it v = log P(p) − log P(versus), which is the
   difference of their logits. The engine reads the p tokens once for v, and once for their activations a_f(t).
3. Every feature that is active gets the score max_t a_f(t) / (p − t). Those with the highest are candidates, as many of
   each SAE.
4. The effect of a candidate is v − v', with v' under the ablation of the feature at the tokens 1 … p − 1: each
   candidate is a request of its own, and the engine runs them together. The first token is left alone, since models
   keep there what they have no other place for. The strongest effects are returned; those below 0 held the token back.
5. Of each feature that is returned, the tokens with the highest a_f(t) / (p − t) are ablated one at a time, too.

Nothing is estimated: effects are what ablation does, through all of the model. The score alone is a guess; how well it
finds the strongest effects is measured in ``tests/benchmarks/attribution.py``. Gradient × activation would be a better
guess (ibid.), but vLLM runs the model in inference mode, without a graph to go back through.
"""

import asyncio
from collections.abc import Sequence
from typing import Annotated, Literal, Self

from fastapi import APIRouter, Request
from pydantic import Field, model_validator

from api.analysis.ablation import AblatedFeature, Explained, Likelihood, ablated_features, candidates_in, likelihood
from api.analysis.next_tokens import Token, next_tokens, token_id
from api.analysis.reading import ChatOrText, engine_of, read, reading_plan
from api.analysis.together import awaited
from api.answer import Labels, labels_of, named
from api.deployment import CurrentDeployment, Deployment
from api.engine import Tokens
from api.plan import Plan
from api.request import Name, ReturnActivations, SteeringRequest
from featurehub.answers import Notice, ServedSae
from featurehub.attribution import CANDIDATES_MAX, PARTS_MAX, AttributedFeature, AttributedToken
from featurehub.edits import TOP_K_MAX, Steering
from featurehub.errors import InvalidInput
from featurehub.next_tokens import NextToken
from featurehub.settings import Frozen

__all__ = ["FIRST", "AttributeBody", "Attribution", "attribute", "router"]

router = APIRouter(prefix="/v1/features", tags=["features"])
FIRST = 2
"""The first token that can be explained: the one before the first is left alone."""


class AttributeBody(ChatOrText):
    """The body of a request: a chat or a text.

    Attributes:
        position: Index of the token to explain, at least 2; the number of tokens is the one that would come next. Left
            out, the last token that is somebody's words or, of a chat that ends with the user, the first of the answer.
        target: The token whose likelihood is explained, as text or id; left out, the one that stands there, and of one
            that is to come the likeliest.
        versus: The token that it is compared with; left out, all others.
        sae: The only SAE that is asked, by its id, name or alias; None for all that are served.
        candidates: How many features are ablated, in [1, 256].
        limit: How many of them are returned, in [1, 256].
        tokens: At how many tokens each of these is ablated by itself, in [0, 16].
    """

    position: Annotated[int, Field(ge=FIRST, strict=True)] | None = None
    target: Token | None = None
    versus: Token | None = None
    sae: Name | None = None
    candidates: Annotated[int, Field(ge=1, le=CANDIDATES_MAX, strict=True)] = 48
    limit: Annotated[int, Field(ge=1, le=CANDIDATES_MAX, strict=True)] = 10
    tokens: Annotated[int, Field(ge=0, le=16, strict=True)] = 3

    @model_validator(mode="after")
    def not_too_many(self) -> Self:
        """Refuses more ablations at single tokens than one request may ask for."""
        if self.limit * self.tokens > PARTS_MAX:
            raise ValueError(f'"limit" times "tokens" is {self.limit * self.tokens}; at most {PARTS_MAX}')
        return self

    @property
    def asked(self) -> SteeringRequest:
        """What is read, as a completion would ask for it."""
        reads = ReturnActivations(top_k=TOP_K_MAX, sae=self.sae)
        return SteeringRequest(reads=reads)

    @property
    def awaits_answer(self) -> bool:
        """Whether it is the first token of an answer that is explained: the chat ends with the user."""
        return self.position is None and self.messages is not None and self.messages[-1].role != "assistant"


class Attribution(Frozen):
    """Which features made a token likely.

    Attributes:
        object: Always "attribution".
        position: Index of the token that is explained.
        tokens: The texts of the tokens before it.
        target: The token, with its log-probability there.
        versus: The token that it is compared with; None where that is all others.
        features: The features with the strongest effects, strongest first.
        active: How many latents are active at the tokens before it, but for the first.
        measured: How many of them were ablated.
        saes: The SAEs that were asked, with their states on the loaded model.
        warnings: What the client should know.
    """

    object: Literal["attribution"] = "attribution"
    position: int
    tokens: tuple[str, ...]
    target: NextToken
    versus: NextToken | None
    features: tuple[AttributedFeature, ...]
    active: int
    measured: int
    saes: tuple[ServedSae, ...]
    warnings: tuple[Notice, ...]


@router.post("/attribute")
async def route(deployment: CurrentDeployment, body: AttributeBody, request: Request) -> Attribution:
    """Which features, and at which earlier tokens, made a token of a chat or text likely."""
    return await awaited(request, attribute(deployment, body))


async def attribute(deployment: Deployment, body: AttributeBody) -> Attribution:
    """See the module's docstring.

    Raises:
        InvalidInput: There is no such token, or a token's text is not one token.
        ArtifactNotFound: ``sae`` is not served.
        OverheadExceeded: Steering takes more than its budget now.
        SteeringLost: A feature was not ablated, or something was not read.
        EngineUnavailable: The engine is gone.
    """
    engine = engine_of(deployment)
    deployment.door.check(body.asked)
    whole = await asyncio.to_thread(engine.tokens, body.entry, to_continue=body.awaits_answer)
    plan = await asyncio.to_thread(reading_plan, body.asked, deployment, body.model)
    explained = await explained_by(whole, body, plan, deployment)
    base = await likelihood(explained, Steering())
    report = await read(Tokens(explained.ids, []), plan, deployment)
    assert report.activations is not None
    blocks = report.activations.blocks
    active = [candidates_in(block, max(1, body.candidates // len(blocks))) for block in blocks]
    chosen = [each for own, _ in active for each in own][: body.candidates]
    found = await ablated_features(chosen, base, explained, limit=body.limit, tokens=body.tokens)
    counts = sum(count for _, count in active), len(chosen)
    return await asyncio.to_thread(answer, explained, base, found, counts)


async def explained_by(whole: Tokens, body: AttributeBody, plan: Plan, deployment: Deployment) -> Explained:
    """Step 1. Raises InvalidInput where the text has no such token, or a token's text is not one token."""
    engine, position = engine_of(deployment), position_of(whole, body)
    ids, named = whole.ids[:position], {"target": body.target, "versus": body.versus}
    target, versus = [None if each is None else token_id(each, name, engine) for name, each in named.items()]
    if target is None and position < len(whole.ids):
        target = whole.ids[position]
    if target is None:
        [target] = (await engine.run(ids, Steering(), top=1)).keys()
    if target == versus:
        raise InvalidInput('"versus" is the token that is explained; name another, or leave it out', param="versus")
    return Explained(ids, target, versus, plan, deployment)


def position_of(whole: Tokens, body: AttributeBody) -> int:
    """The index of the token that is explained. Raises InvalidInput."""
    count, position = len(whole.ids), body.position
    if position is None:
        said = [at for at, content in enumerate(whole.content) if content]
        position = count if body.awaits_answer or not said else said[-1]
    if not FIRST <= position <= count:
        raise InvalidInput(
            f"there is no token {position} to explain: of these {count} tokens those from {FIRST} on can be, and "
            f"{count} is the one that would come next",
            param="position",
        )
    return position


def answer(
    explained: Explained, base: Likelihood, found: Sequence[AblatedFeature], counts: tuple[int, int]
) -> Attribution:
    ids, deployment, plan = explained.ids, explained.deployment, explained.plan
    engine = engine_of(deployment)
    with deployment.store.read() as reader:
        known = labels_of(((each.candidate.sae, each.candidate.latent) for each in found), reader)
    texts = tuple(engine.pieces(ids))
    logprobs = {explained.target: base.target}
    if explained.versus is not None and base.versus is not None:
        logprobs[explained.versus] = base.versus
    target, *others = next_tokens(ids, logprobs, engine)
    return Attribution(
        position=len(ids),
        tokens=texts,
        target=target,
        versus=next(iter(others), None),
        features=tuple(shown(each, texts, known) for each in found),
        active=counts[0],
        measured=counts[1],
        saes=plan.saes,
        warnings=plan.notices,
    )


def shown(found: AblatedFeature, texts: Sequence[str], known: Labels) -> AttributedFeature:
    sae, latent, score, at, activations = found.candidate
    id, label = named(sae, latent, known)
    measured = zip(at, activations, found.parts, strict=False)
    tokens = tuple(AttributedToken(position=t, text=texts[t], activation=a, effect=e) for t, a, e in measured)
    return AttributedFeature(id=id, label=label, sae=sae, effect=found.effect, score=score, tokens=tokens)
