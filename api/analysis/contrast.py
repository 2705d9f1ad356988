"""``POST /v1/features/contrast``: the features that tell two sets of chats apart.

1. Every chat is read once. x_cf is the mean activation of feature f over the n tokens of the content of chat c, of
   which the engine reports the sums: no activations of single tokens leave it.
2. Each set is halved, every second chat going to the second half. With means r and standard deviations s of √x in the
   first half, the effect of a feature is d_f = (r1_f − r2_f) / (s_f + s0): a t statistic with a constant, so that
   features of hardly any variance do not come first (Tusher, Tibshirani and Chu 2001, "SAM"). s_f² is the mean of both
   variances, and s0 the median of s over the features that are active in the first half; 1 where that is 0, as of
   single chats. Roots, since the spread of x grows with its mean, as that of counts does (Bartlett 1936).
3. The second half, which chose nothing, says how well the feature tells the sets apart: x is cut in the middle of its
   means m1_f and m2_f, and the accuracy is the mean of the shares of both sets that lie on their side, .5 by chance.
"""

import asyncio
from collections.abc import Sequence
from functools import partial
from typing import Annotated, Literal, NamedTuple

import numpy as np
from fastapi import APIRouter, Request
from numpy.typing import NDArray
from pydantic import Field

from api.analysis.reading import Chat, engine_of, read, reading_plan, totals, totals_in, with_totals
from api.analysis.together import awaited, together
from api.answer import Labels, labels_of, named
from api.deployment import CurrentDeployment, Deployment
from api.engine import Tokens
from api.plan import Plan
from api.request import Name, ReturnActivations, SteeringRequest
from featurehub.activations import ActivationTotals
from featurehub.answers import Notice, ServedSae
from featurehub.settings import Frozen
from featurehub.totals import ContrastRow

__all__ = [
    "Contrast", "ContrastBody", "Effect", "MeanActivations", "Means", "all_effects", "means_of",
    "router", "row",
]  # fmt: skip

CHATS = 1000
COLUMNS = 4096
"""Latents that are compared at once."""
router = APIRouter(prefix="/v1/features", tags=["features"])
Dataset = Annotated[tuple[Chat, ...], Field(min_length=1, max_length=CHATS)]
Floats, Ints = NDArray[np.float64], NDArray[np.int64]


class ContrastBody(Frozen):
    """The body of a request.

    Attributes:
        model: As in a chat completion; left out, the model that is served.
        dataset_1: Chats.
        dataset_2: Chats that lack what those have, or have what they lack.
        sae: The only SAE that is asked, by its id, name or alias; None for all that are served.
        limit: How many features are returned of each set, in [1, 100].
    """

    model: str | None = None
    dataset_1: Dataset
    dataset_2: Dataset
    sae: Name | None = None
    limit: Annotated[int, Field(ge=1, le=100, strict=True)] = 10

    @property
    def asked(self) -> SteeringRequest:
        """What is read, as a completion would ask for it."""
        return SteeringRequest(reads=ReturnActivations(top_k=1, sae=self.sae))


class Contrast(Frozen):
    """The features that tell two sets of chats apart.

    Attributes:
        object: Always "contrast".
        dataset_1: Those that are stronger in the first set, the largest effect first.
        dataset_2: Those that are stronger in the second set.
        saes: The SAEs that were asked, with their states on the loaded model.
        warnings: What the client should know.
    """

    object: Literal["contrast"] = "contrast"
    dataset_1: tuple[ContrastRow, ...]
    dataset_2: tuple[ContrastRow, ...]
    saes: tuple[ServedSae, ...]
    warnings: tuple[Notice, ...]


class Effect(NamedTuple):
    """The numbers of a latent, as ``ContrastRow`` has them."""

    sae: str
    latent: int
    effect: float
    mean_1: float
    mean_2: float
    accuracy: float | None


@router.post("/contrast")
async def route(deployment: CurrentDeployment, body: ContrastBody, request: Request) -> Contrast:
    """The features that tell two sets of chats apart, the largest effect first."""
    return await awaited(request, contrast(deployment, body))


async def contrast(deployment: Deployment, body: ContrastBody) -> Contrast:
    """See the module's docstring. Raises as ``api.analysis.reading.totals`` does, and ArtifactNotFound."""
    engine_of(deployment)
    deployment.door.check(body.asked)
    plan = await asyncio.to_thread(reading_plan, body.asked, deployment, body.model)
    reading = partial(means, plan=plan, deployment=deployment)
    found = await together(reading, (*body.dataset_1, *body.dataset_2))
    return await asyncio.to_thread(contrasted, body, plan, found, deployment)


class MeanActivations(NamedTuple):
    """The latents of an SAE that are active in a chat, ascending, and their mean activations."""

    latents: Ints
    means: Floats


Means = dict[str, MeanActivations]
"""By SAE."""
NOTHING = MeanActivations(np.zeros(0, np.int64), np.zeros(0))


async def means(chat: Chat, plan: Plan, deployment: Deployment) -> Means:
    """Step 1, for one chat."""
    return {each.sae: row(each) for each in await totals(chat, plan, deployment)}


async def means_of(tokens: Tokens, plan: Plan, deployment: Deployment) -> Means:
    """Step 1, for the content of these tokens."""
    report = await read(tokens, with_totals(plan, tokens), deployment)
    return {each.sae: row(each) for each in totals_in(report)}


def row(own: ActivationTotals) -> MeanActivations:
    latents, _, sums, _ = own.arrays()
    return MeanActivations(latents.astype(np.int64), sums.astype(np.float64) / max(1, own.tokens))


def contrasted(body: ContrastBody, plan: Plan, found: Sequence[Means], deployment: Deployment) -> Contrast:
    """Steps 2 and 3, over all SAEs."""
    effects = all_effects(found, plan, len(body.dataset_1))
    first = sorted((e for e in effects if e.effect > 0), key=lambda e: -e.effect)[: body.limit]
    second = sorted((e for e in effects if e.effect < 0), key=lambda e: e.effect)[: body.limit]
    with deployment.store.read() as reader:
        known = labels_of(((each.sae, each.latent) for each in (*first, *second)), reader)
    rows_1, rows_2 = (tuple(shown(each, known) for each in side) for side in (first, second))
    return Contrast(dataset_1=rows_1, dataset_2=rows_2, saes=plan.saes, warnings=plan.notices)


def all_effects(found: Sequence[Means], plan: Plan, count: int) -> list[Effect]:
    """``effects_of`` for each SAE that the plan reads; of the chats, the first ``count`` are the first set's."""
    saes = [each.sae for each in plan.steering.reads]
    return [effect for sae in saes for effect in effects_of(sae, [each.get(sae, NOTHING) for each in found], count)]


def effects_of(sae: str, chats: Sequence[MeanActivations], count: int) -> list[Effect]:
    """The effects of all latents that are active in a first half.

    Args:
        sae: Id of the SAE.
        chats: What is active in each; the first ``count`` are the first set's.
        count: How many they are.
    """
    sets = chats[:count], chats[count:]
    active = np.unique(np.concatenate([each.latents for own in sets for each in own[::2]]))
    if not len(active):
        return []
    parts = [halves_of(sets, active[at : at + COLUMNS]) for at in range(0, len(active), COLUMNS)]
    m1, m2, r, s = (np.concatenate(column) for column in zip(*(part[:4] for part in parts), strict=True))
    d = r / (s + (np.median(s) or 1.0))
    shares = [share for part in parts for share in part.accuracy]
    columns = (active.tolist(), d.tolist(), m1.tolist(), m2.tolist(), shares)
    return [Effect(sae, *each) for each in zip(*columns, strict=True)]


class Halves(NamedTuple):
    """Of some latents: means, the difference and spread of roots in the first halves, and accuracy on the second."""

    m1: Floats
    m2: Floats
    r: Floats
    s: Floats
    accuracy: Sequence[float | None]


def halves_of(sets: Sequence[Sequence[MeanActivations]], active: Ints) -> Halves:
    """Steps 2 and 3 for some latents, ascending."""
    (first, second), tested = ([dense(own[start::2], active) for own in sets] for start in (0, 1))
    m1, m2 = first.mean(0), second.mean(0)
    roots = np.sqrt(first), np.sqrt(second)
    s = np.sqrt((roots[0].var(0) + roots[1].var(0)) / 2)
    right = accuracy(tested, m1, m2)
    return Halves(
        m1, m2, roots[0].mean(0) - roots[1].mean(0), s, [None] * len(active) if right is None else right.tolist()
    )


def dense(chats: Sequence[MeanActivations], active: Ints) -> Floats:
    """[chats, active] mean activations."""
    x = np.zeros((len(chats), len(active)))
    for own, (latents, values) in zip(x, chats, strict=True):
        at = np.searchsorted(active, latents)
        known = (at < len(active)) & (active[np.minimum(at, len(active) - 1)] == latents)
        own[at[known]] = values[known]
    return x


def accuracy(tested: Sequence[Floats], m1: Floats, m2: Floats) -> Floats | None:
    """Step 3; None where a half is empty. A chat that lies on the cut counts half."""
    if not all(len(each) for each in tested):
        return None
    middle, side = (m1 + m2) / 2, np.sign(m1 - m2)
    shares = [
        ((np.sign(each - middle) * side * sign + 1) / 2).mean(0) for each, sign in zip(tested, (1, -1), strict=True)
    ]
    return (shares[0] + shares[1]) / 2


def shown(each: Effect, known: Labels) -> ContrastRow:
    id, label = named(each.sae, each.latent, known)
    rest = each._asdict()
    del rest["latent"]
    return ContrastRow(id=id, label=label, **rest)
