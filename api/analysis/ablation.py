"""What is lost of a token's likelihood where features are ablated: steps 2 to 5 of ``api.analysis.attribute``."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from api.analysis.reading import scored, under
from api.analysis.together import together
from api.deployment import Deployment
from api.plan import Plan
from featurehub.activations import NO_LATENT, ActivationBlock
from featurehub.edits import LARGEST, LatentEdit, Steering
from featurehub.features import Mode

__all__ = ["AblatedFeature", "Candidate", "Explained", "Likelihood", "ablated_features", "candidates_in", "likelihood"]


class Explained(NamedTuple):
    """What is explained, and on what it is measured.

    Attributes:
        ids: The tokens that were read before it, p of them.
        target: The token.
        versus: The one that it is compared with; None for all others.
        plan: Names the SAEs.
        deployment: The server.
    """

    ids: list[int]
    target: int
    versus: int | None
    plan: Plan
    deployment: Deployment


class Likelihood(NamedTuple):
    """Log-probabilities of the token and, if there is one, of that which it is compared with."""

    target: float
    versus: float | None

    @property
    def value(self) -> float:
        """v of step 2."""
        return self.target - (self.versus or 0.0)


class Candidate(NamedTuple):
    """An active latent.

    Attributes:
        sae: Id of its SAE.
        latent: Its index there.
        score: The largest a_f(t) / (p − t).
        at: The positions where it is active, those with the largest first.
        activations: Its activations there.
    """

    sae: str
    latent: int
    score: float
    at: tuple[int, ...]
    activations: tuple[float, ...]


class AblatedFeature(NamedTuple):
    """A latent, and what is lost without it.

    Attributes:
        candidate: The latent.
        effect: v − v' where it is ablated everywhere.
        parts: The same at the first of its positions, each by itself.
    """

    candidate: Candidate
    effect: float
    parts: tuple[float, ...] = ()


class Ablation(NamedTuple):
    """A latent, and the stretch of positions in which it is ablated, from the first to the one after the last."""

    candidate: Candidate
    within: tuple[int, int]

    @property
    def steering(self) -> Steering:
        """What the engine does: the dose guard leaves it alone."""
        edit = LatentEdit(sae=self.candidate.sae, latent=self.candidate.latent, mode=Mode.ABLATE)
        return Steering(edits=(edit,), within=self.within, dose_max=LARGEST)


async def likelihood(explained: Explained, steering: Steering) -> Likelihood:
    """How likely the token is under a steering. Raises SteeringLost, EngineUnavailable."""

    async def logprob(token: int) -> float:
        plan = under(explained.plan, steering)
        return (await scored(explained.ids, plan, explained.deployment, chosen=token)).logprobs[token]

    versus = explained.versus
    return Likelihood(await logprob(explained.target), None if versus is None else await logprob(versus))


def candidates_in(block: ActivationBlock, count: int) -> tuple[list[Candidate], int]:
    """Step 3: the latents with the highest scores, highest first, and how many were active.

    Args:
        block: The activations of the tokens before the one that is explained.
        count: How many latents are returned at most.
    """
    latents, values = block.arrays()
    rows, columns = np.nonzero((latents != NO_LATENT) & (values > 0))
    rows, columns = rows[rows > 0], columns[rows > 0]
    latent, value = latents[rows, columns], values[rows, columns].astype(np.float64)
    score = value / (len(block) - rows)
    order = np.lexsort((rows, -score, latent))
    starts = np.flatnonzero(np.append(True, np.diff(latent[order]) != 0)) if len(order) else order
    best = np.argsort(-score[order][starts], kind="stable")[:count]
    stops = np.append(starts[1:], len(order))
    spans = [order[starts[i] : stops[i]] for i in best]
    found = [
        Candidate(
            block.sae, int(latent[own[0]]), float(score[own[0]]), tuple(rows[own].tolist()), tuple(value[own].tolist())
        )
        for own in spans
    ]
    return found, len(starts)


async def ablated_features(
    candidates: Iterable[Candidate], base: Likelihood, explained: Explained, *, limit: int, tokens: int
) -> list[AblatedFeature]:
    """Steps 4 and 5: the features with the strongest effects, strongest first.

    Args:
        candidates: What is ablated.
        base: How likely the token is without any ablation.
        explained: The token.
        limit: How many features are returned.
        tokens: At how many tokens each of these is ablated by itself.
    """
    everywhere = [Ablation(each, (1, len(explained.ids))) for each in candidates]
    effects = await losses(everywhere, base, explained)
    found = sorted(zip(everywhere, effects, strict=True), key=lambda each: -abs(each[1]))[:limit]
    single = [Ablation(each, (at, at + 1)) for (each, _), _ in found for at in each.at[:tokens]]
    parts = iter(await losses(single, base, explained))
    return [AblatedFeature(each, effect, tuple(next(parts) for _ in each.at[:tokens])) for (each, _), effect in found]


async def losses(ablations: Sequence[Ablation], base: Likelihood, explained: Explained) -> list[float]:
    """v − v' under each ablation."""

    async def one(ablation: Ablation) -> float:
        return base.value - (await likelihood(explained, ablation.steering)).value

    return await together(one, ablations)
