"""``POST /v1/features/autoconditional``: conditions that hold in chats of one kind, or the reason why there are none.

1. Examples of the kind and others are given as chats. Of those that are not, the model writes some: texts on what the
   condition is about (``subject_of``), and answers to prompts that ask for nothing.
2. Every chat is read once; x_cf is the largest activation of feature f over the content of chat c. Every second chat is
   held out.
3. Candidates are the features that contrast puts first (``api.analysis.contrast``), and those that search finds by
   words and by meaning. Each has the threshold that tells the chosen chats best, by the mean of the shares of examples
   above it and of others at most at it; it lies in the middle between two of their values.
4. The best candidate is taken, and further ones of which either is enough, while that tells more of the chosen chats.
5. The chats that were held out say how well it does. Unless that is above chance (.5) by more than ``ERRORS`` standard
   errors, there are no conditions.
"""

import asyncio
import re
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Annotated, NamedTuple

import numpy as np
from fastapi import APIRouter, Request
from numpy.typing import NDArray
from pydantic import Field

from api.analysis.candidates import search_hits
from api.analysis.contrast import MeanActivations, all_effects, row
from api.analysis.neutral import PROMPTS
from api.analysis.reading import Chat, ChatMessage, engine_of, reading_plan, totals
from api.analysis.together import awaited, together
from api.analysis.trials import AT_ONCE, Asking, drawn
from api.answer import features_at
from api.deployment import CurrentDeployment, Deployment
from api.plan import Plan
from api.request import Name, ReturnActivations, SteeringRequest
from api.states import with_states
from featurehub.answers import Notice, ServedSae
from featurehub.autosteer import INSTRUCTION_CHARS, AutoconditionalResult, FoundCondition
from featurehub.features import Feature, State
from featurehub.settings import Frozen

__all__ = ["Autoconditional", "AutoconditionalBody", "autoconditional", "router", "subject_of"]

CHATS, TOKENS = 200, 60
"""Most chats of either kind, and the longest text that the model writes."""
CANDIDATES = 32
LEAST = 0.02
"""A further condition tells at least so much more of the chosen chats."""
ERRORS = 2.0
TEMPLATES = ("tell me about {} .", "write something about {} .", "talk to me about {} .", "give me an example of {} .")
WRITTEN = 24
ASIDE = re.compile(
    r"^\W*(?:when|whenever|if|while|once)?\s*(?:the\s+)?(?:user|model|assistant|conversation|chat|text|somebody|someone|"
    r"people|it)\b(?:\s+(?:is|are|talks?|talking|speaks?|speaking|asks?|asking|mentions?|mentioning|discuss(?:es|ing)?|"
    r"writes?|writing|about|for|on|of))+\s+",
    re.IGNORECASE,
)
router = APIRouter(prefix="/v1/features", tags=["features"])
Dataset = Annotated[tuple[Chat, ...], Field(min_length=4, max_length=CHATS)]
Floats = NDArray[np.float64]


class AutoconditionalBody(Frozen):
    """The body of a request.

    Attributes:
        condition: What the chats have in common, in words: "when the user talks about banking".
        examples: Chats in which the conditions should hold, 4 to 200; left out, the model writes some.
        others: Chats in which they should not; left out, the model answers prompts that ask for nothing.
        model: As in a chat completion; left out, the model that is served.
        sae: The only SAE whose features may be used, by its id, name or alias; None for all that are served.
        max_conditions: How many conditions are returned at most, of which one is enough, in [1, 8].
        seed: Decides what the model writes.
    """

    condition: str = Field(min_length=1, max_length=INSTRUCTION_CHARS)
    examples: Dataset | None = None
    others: Dataset | None = None
    model: str | None = None
    sae: Name | None = None
    max_conditions: Annotated[int, Field(ge=1, le=8, strict=True)] = 2
    seed: Annotated[int, Field(ge=0, le=1 << 31, strict=True)] = 0

    @property
    def asked(self) -> SteeringRequest:
        """What is read, as a completion would ask for it."""
        return SteeringRequest(reads=ReturnActivations(top_k=1, sae=self.sae))


class Autoconditional(AutoconditionalResult):
    """``AutoconditionalResult`` with what a client should know of the server.

    Attributes:
        saes: The SAEs that were asked, with their states on the loaded model.
        warnings: What the client should know.
    """

    saes: tuple[ServedSae, ...]
    warnings: tuple[Notice, ...]


class Activity(NamedTuple):
    """What the latents of an SAE did in a chat: ``means`` over its content, and the largest activation of each."""

    means: MeanActivations
    maxima: Mapping[int, float]


Activities = Mapping[str, Activity]
"""By SAE."""
NOTHING = Activity(MeanActivations(np.zeros(0, np.int64), np.zeros(0)), {})


class Threshold(NamedTuple):
    """A candidate with the activation above which it is found, and the chats in which it is."""

    feature: Feature
    value: float
    found: NDArray[np.bool_]


@router.post("/autoconditional")
async def route(deployment: CurrentDeployment, body: AutoconditionalBody, request: Request) -> Autoconditional:
    """Conditions that hold in chats of one kind, with their accuracy on chats that chose nothing."""
    return await awaited(request, autoconditional(deployment, body))


async def autoconditional(deployment: Deployment, body: AutoconditionalBody) -> Autoconditional:
    """See the module's docstring. Raises what ``api.analysis.autosteer.autosteer`` raises, and InvalidInput."""
    engine_of(deployment)
    deployment.door.check(body.asked)
    plan = await asyncio.to_thread(reading_plan, body.asked, deployment, body.model)
    about = subject_of(body.condition)
    asks = [TEMPLATES[at % len(TEMPLATES)].format(about) for at in range(WRITTEN)]
    with deployment.users.using(plan.hooks):
        async with deployment.measuring:
            examples = body.examples or await written(asks, body.seed, deployment)
            others = body.others or await written(PROMPTS[:WRITTEN], body.seed + WRITTEN, deployment)
            reading = partial(activities, plan=plan, deployment=deployment)
            found = await together(reading, (*examples, *others))
    return await asyncio.to_thread(conditions, body, plan, found, len(examples), deployment)


def subject_of(condition: str) -> str:
    """What a condition is about: "banking" of "when the user talks about banking"."""
    return ASIDE.sub("", condition.strip()).strip(" .") or condition.strip()


async def written(prompts: Sequence[str], seed: int, deployment: Deployment) -> tuple[Chat, ...]:
    """Step 1: what the model answers, as if a user had said it."""
    asking = Asking(deployment, {}, "", TOKENS, 0.7, asyncio.Semaphore(AT_ONCE))
    answers = await drawn(asking, prompts, seed=seed)
    texts = await asyncio.to_thread(answers.texts, engine_of(deployment))
    return tuple((ChatMessage(role="user", content=text or "."),) for text in texts)


async def activities(chat: Chat, plan: Plan, deployment: Deployment) -> Activities:
    """Step 2, for one chat."""
    found = await totals(chat, plan, deployment)
    return {each.sae: Activity(row(each), maxima_of(each.arrays())) for each in found}


def maxima_of(arrays: Sequence[NDArray[np.generic]]) -> dict[int, float]:
    latents, _, _, maxima = arrays
    return dict(zip(latents.tolist(), maxima.tolist(), strict=True))


def conditions(
    body: AutoconditionalBody, plan: Plan, found: Sequence[Activities], count: int, deployment: Deployment
) -> Autoconditional:
    """Steps 3 to 5; the first ``count`` chats are the examples."""
    right = np.arange(len(found)) < count
    chosen = np.array([*(at % 2 == 0 for at in range(count)), *(at % 2 == 0 for at in range(len(found) - count))])
    best = combined(candidates(body, plan, found, count, deployment), right, chosen, body.max_conditions)
    holds = np.any([each.found for each in best], axis=0) if best else np.zeros(len(found), bool)
    positive, negative = holds[~chosen & right].mean(), holds[~chosen & ~right].mean()
    accuracy, reason = balanced(holds, right, ~chosen), ""
    if not best:
        reason = "no feature is named like the condition, or tells the examples from the others"
    elif accuracy - 0.5 <= ERRORS * error_by_chance(right, ~chosen):
        reason = (
            f"the best conditions tell {accuracy:.2f} of the held-out chats, which is not clearly more than chance; "
            "give more examples and others, or say the condition in other words"
        )
    return Autoconditional(
        condition=body.condition,
        conditions=() if reason else tuple(map(condition_of, best)),
        reason=reason,
        accuracy=accuracy,
        found_in=float(positive),
        wrongly_found_in=float(negative),
        saes=plan.saes,
        warnings=plan.notices,
    )


def candidates(
    body: AutoconditionalBody, plan: Plan, found: Sequence[Activities], count: int, deployment: Deployment
) -> list[tuple[Feature, Floats]]:
    """Step 3: features, each with its largest activation in every chat."""
    effects = all_effects([{sae: own.means for sae, own in each.items()} for each in found], plan, count)
    strongest = sorted((each for each in effects if each.effect > 0), key=lambda each: -each.effect)[:CANDIDATES]
    with deployment.store.read() as reader:
        told = features_at(((each.sae, each.latent) for each in strongest), reader).values()
        hits = search_hits(subject_of(body.condition), reader, plan, deployment, CANDIDATES)
        known = with_states(reader, dict.fromkeys((*told, *hits)), deployment.served)
    usable = [each for each in known if each.state is not State.STALE and each.max_activation > 0]
    return [(f, np.array([each.get(f.artifact, NOTHING).maxima.get(f.latent, 0.0) for each in found])) for f in usable]


def combined(
    known: Sequence[tuple[Feature, Floats]], right: NDArray[np.bool_], chosen: NDArray[np.bool_], most: int
) -> list[Threshold]:
    """Step 4."""
    single = [threshold(feature, x, right, chosen) for feature, x in known]
    best: list[Threshold] = []
    holds, score = np.zeros(len(right), bool), 0.5
    while single and len(best) < most:
        scores = [balanced(holds | each.found, right, chosen) for each in single]
        at = int(np.argmax(scores))
        if scores[at] < score + LEAST:
            break
        best.append(single[at])
        holds, score = holds | single[at].found, scores[at]
    return best


def threshold(feature: Feature, x: Floats, right: NDArray[np.bool_], chosen: NDArray[np.bool_]) -> Threshold:
    """The threshold that tells the chosen chats best; of equal ones the lowest."""
    values = np.unique([0.0, *x[chosen]])
    cuts = np.minimum([*((values[1:] + values[:-1]) / 2), values[-1]], feature.max_activation)
    scores = [balanced(x > cut, right, chosen) for cut in cuts]
    cut = float(cuts[int(np.argmax(scores))])
    return Threshold(feature, cut, x > cut)


def balanced(holds: NDArray[np.bool_], right: NDArray[np.bool_], among: NDArray[np.bool_]) -> float:
    """The mean of the shares of examples in which it holds and of others in which it does not."""
    return float((holds[among & right].mean() + (~holds[among & ~right]).mean()) / 2)


def error_by_chance(right: NDArray[np.bool_], among: NDArray[np.bool_]) -> float:
    """The standard error of ``balanced`` for what holds or not by the toss of a coin."""
    return float(np.sqrt(0.25 / (among & right).sum() + 0.25 / (among & ~right).sum()) / 2)


def condition_of(found: Threshold) -> FoundCondition:
    share = min(1.0, found.value / found.feature.max_activation)
    return FoundCondition(feature=found.feature.id, label=found.feature.label, value=round(share, 6))
