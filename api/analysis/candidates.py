"""Features that may bring an instruction about: what search finds for it, and what the model's own answers tell.

1. The answers that follow the instruction and those that do not are read once more, both after the prompt without the
   instruction, and contrasted over their own tokens (``api.analysis.contrast``). A feature that is stronger in the
   answers that follow it may be nudged up, one that is weaker down.
2. Search, by words and by meaning, finds features that are called like the instruction, to be nudged up.
3. So may those be whose label, or whose promoted tokens, mean what only the answers that follow it say: those nearest
   to the difference of the answers' mean embeddings. An instruction's own words ("talk about ...") do not count there.
4. The lists are merged by fused rank. Features that cannot be nudged, or are stale on the loaded model, are left out.
"""

import asyncio
import random
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from api.analysis.contrast import all_effects, means_of
from api.analysis.reading import engine_of
from api.analysis.together import together
from api.analysis.trials import Answers, GeneratedAnswer
from api.answer import features_at
from api.deployment import Deployment
from api.engine import Tokens
from api.plan import Plan
from api.states import with_states
from featurehub.features import Feature, State
from featurehub.settings import Limits
from featurehub.store import QueryVector, Reader
from featurehub.store.fuse import reciprocal

__all__ = ["Candidate", "Weights", "drawn_at_random", "find_candidates", "may_be_nudged", "search_hits"]

FAR, DRAWN_FROM = 4, 256
"""Of each list, so many times as many features are looked at as are wanted; latents that random ones are drawn from."""


Weights = dict[Feature, float]
"""Edits: features with the weights that they are nudged with."""


class Candidate(NamedTuple):
    """A feature, and whether it is nudged up (1) or down (-1)."""

    feature: Feature
    sign: int


async def find_candidates(
    text: str, followed: Answers, plain: Answers, plan: Plan, deployment: Deployment, limit: int
) -> list[Candidate]:
    """Steps 1 to 4.

    Args:
        text: The instruction.
        followed: Answers that follow it.
        plain: Answers to the same prompts that do not.
        plan: Reads the SAEs.
        deployment: The server.
        limit: How many candidates at most.
    """
    apart = await contrasted_answers(followed, plain, plan, deployment)
    return await asyncio.to_thread(merged, text, (followed, plain), apart, plan, deployment, limit)


async def contrasted_answers(
    followed: Answers, plain: Answers, plan: Plan, deployment: Deployment
) -> list[tuple[str, int, float]]:
    """The SAE, the latent and the effect of what tells both kinds of answers apart, strongest first."""
    answers = (*followed.answers, *plain.answers)
    found = await together(lambda each: means_of(content_of(each), plan, deployment), answers)
    effects = all_effects(found, plan, len(followed.answers))
    right = [each for each in effects if each.accuracy is None or each.accuracy > 0.5]
    return [(each.sae, each.latent, each.effect) for each in sorted(right, key=lambda each: -abs(each.effect))]


def content_of(answer: GeneratedAnswer) -> Tokens:
    """The answer after its prompt, as content."""
    ids = [*answer.prompt, *answer.tokens]
    return Tokens(ids, [at >= len(answer.prompt) for at in range(len(ids))])


def merged(
    text: str, kinds: tuple[Answers, Answers], apart: Sequence[tuple[str, int, float]], plan: Plan,
    deployment: Deployment, limit: int,
) -> list[Candidate]:  # fmt: skip
    """Steps 2 to 4."""
    with deployment.store.read() as reader:
        told = from_contrast(apart[: FAR * limit], reader)
        hits = search_hits(text, reader, plan, deployment, FAR * limit)
        about = what_sets_apart(*kinds, reader, plan, deployment, FAR * limit)
        signs = {each.id: 1 for each in (*hits, *about)} | {each.feature.id: each.sign for each in told}
        features = {each.id: each for each in (*hits, *about, *(each.feature for each in told))}
        usable = {each.id: each for each in may_be_nudged(features.values(), reader, deployment)}
    lists = [[each.feature.id for each in told], [each.id for each in hits], [each.id for each in about]]
    rank = reciprocal([[id for id in each if id in usable] for each in lists])
    ordered = sorted(rank, key=lambda id: (-rank[id], id))
    return [Candidate(usable[id], signs[id]) for id in ordered[:limit]]


def from_contrast(apart: Sequence[tuple[str, int, float]], reader: Reader) -> list[Candidate]:
    """Those that have a feature, in the same order."""
    known = features_at(((sae, latent) for sae, latent, _ in apart), reader)
    return [
        Candidate(known[sae, latent], 1 if effect > 0 else -1)
        for sae, latent, effect in apart
        if (sae, latent) in known
    ]


def search_hits(text: str, reader: Reader, plan: Plan, deployment: Deployment, limit: int) -> tuple[Feature, ...]:
    """What search finds for a text in the SAEs of a plan, best first."""
    query, scope = text[: Limits().name_chars], reader.scope(*(read.sae for read in plan.steering.reads))
    return reader.search(query, scope, limit, vector=deployment.embedder.vector(query, reader, scope)).features


def what_sets_apart(
    followed: Answers, plain: Answers, reader: Reader, plan: Plan, deployment: Deployment, limit: int
) -> tuple[Feature, ...]:
    """Step 3, nearest first; nothing where no SAE was embedded."""
    scope = reader.scope(*(read.sae for read in plan.steering.reads))
    engine, embedded = engine_of(deployment), list[list[QueryVector]]()
    for answers in (followed, plain):
        vectors = [deployment.embedder.vector(text, reader, scope) for text in answers.texts(engine)]
        embedded.append([each for each in vectors if each is not None])
    if not all(embedded):
        return ()
    means = [np.mean([each.vector for each in vectors], axis=0) for vectors in embedded]
    apart = means[0] - means[1]
    length = float(np.linalg.norm(apart))
    if not length:
        return ()
    return reader.relevance.about(QueryVector(embedded[0][0].embedder, apart / length), scope, limit)


def may_be_nudged(features: Iterable[Feature], reader: Reader, deployment: Deployment) -> list[Feature]:
    """Those that a weight is defined for, and that are not stale, with their states."""
    found = with_states(reader, features, deployment.served)
    return [each for each in found if each.strength and each.writes and each.state is not State.STALE]


def drawn_at_random(edits: Weights, draws: int, seed: int, deployment: Deployment) -> list[Weights]:
    """Edits by chance: other features of the same SAEs that can be nudged, with the coefficients of these."""
    numbers, pools = random.Random(seed), dict[str, list[Feature]]()
    with deployment.store.read() as reader:
        for sae in sorted({each.artifact for each in edits}):
            width = reader.artifact(sae).manifest.d_sae
            latents = numbers.sample(range(width), min(width, DRAWN_FROM))
            others = [each for each in reader.latents(sae, latents) if each not in edits]
            pools[sae] = may_be_nudged(others, reader, deployment)
    found: list[Weights] = []
    for _ in range(draws):
        free = {sae: numbers.sample(pool, min(len(pool), len(edits))) for sae, pool in pools.items()}
        own = ((free[f.artifact].pop(), f, weight) for f, weight in edits.items() if free[f.artifact])
        found.append({other: weight * (f.strength or 0.0) / (other.strength or 1.0) for other, f, weight in own})
    return found
