"""``POST /v1/features/autosteer``: edits that do what an instruction asks, or the reason why there are none.

1. A fifth of the prompts are for candidates, a fifth for trials, and the others are held out. To those of the first
   part, the model draws answers with the instruction and without it, which give candidates
   (``api.analysis.candidates``).
2. Every candidate is tried alone on the prompts of the second part, with each weight of a small grid: the effect of the
   answers (``api.analysis.trials``) is how much likelier the instruction makes them.
3. Edits are coherent if the perplexity of the answers is at most ``max_perplexity`` times that of unsteered ones, and
   their repetition at most ``REPETITION`` above. To the best coherent one, the next best features are added one by one,
   with all weights as they are or scaled down, where that makes the effect larger and stays coherent.
4. On the prompts that were held out, which chose nothing, the best edits are measured beside prompting, both together,
   and chance: as many features drawn at random, nudged as strongly; each of ``DRAWS`` such draws has its share of the
   prompts. Prompts differ more than answers to one do, so that each is answered once, and there are many.
5. Edits are returned if their answers have a larger effect than unsteered ones and than chance, by more than
   ``ERRORS`` standard errors of the difference over prompts, and are coherent. Otherwise none are, with the reason.

AutoSteer costs coherence, and prompting mostly does more (arXiv 2602.04903): therefore both stand beside it.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from fastapi import APIRouter, Request
from numpy.typing import NDArray

from api.analysis.autosteer_body import SCALES, TOGETHER, WEIGHTS, AutosteerBody, parts_of
from api.analysis.candidates import Candidate, Weights, drawn_at_random, find_candidates
from api.analysis.reading import engine_of, reading_plan
from api.analysis.together import awaited
from api.analysis.trials import AT_ONCE, NOTHING, Answers, Asking, drawn
from api.deployment import CurrentDeployment, Deployment
from api.plan import Plan
from featurehub.answers import Notice, ServedSae
from featurehub.autosteer import AutosteerResult, ChosenEdit, Outcome, Trial
from featurehub.edits import LatentEdit, Steering
from featurehub.features import Mode

__all__ = ["Autosteer", "autosteer", "router"]

REPETITION = 0.2
ERRORS = 2.0
DRAWS = 3
router = APIRouter(prefix="/v1/features", tags=["features"])


class Autosteer(AutosteerResult):
    """``AutosteerResult`` with what a client should know of the server.

    Attributes:
        saes: The SAEs that were asked, with their states on the loaded model.
        warnings: What the client should know.
    """

    saes: tuple[ServedSae, ...]
    warnings: tuple[Notice, ...]


@dataclass(frozen=True)
class Search:
    """A search for edits.

    Attributes:
        body: What is asked for.
        plan: Reads the SAEs.
        asking: How answers are asked for.
        parts: The parts of the prompts: for candidates, for trials, held out.
        tried: What was tried.
    """

    body: AutosteerBody
    plan: Plan
    asking: Asking
    parts: tuple[Sequence[str], Sequence[str], Sequence[str]]
    tried: list[tuple[Weights, Outcome, bool]] = field(default_factory=list)

    @property
    def deployment(self) -> Deployment:
        """The server."""
        return self.asking.deployment

    async def answers(self, part: int, edits: Weights | None = None, *, instructed: bool = False) -> Answers:
        """Answers to the prompts of a part."""
        steering, seed = self.steering(edits or {}), self.body.seed + 1000 * part
        return await drawn(self.asking, self.parts[part], steering, instructed=instructed, seed=seed)

    async def chance(self, draws: Sequence[Weights]) -> Answers:
        """Answers to the prompts that were held out, each under one of the draws in turn."""
        prompts, count = self.parts[2], len(draws)
        shares = [
            await drawn(self.asking, prompts[at::count], self.steering(edits), seed=self.body.seed + 2000 + 100 * at)
            for at, edits in enumerate(draws)
        ]
        return Answers(tuple(shares[at % count].answers[at // count] for at in range(len(prompts))))

    def steering(self, edits: Weights) -> Steering:
        """What the engine does for these edits."""
        if not edits:
            return NOTHING
        nudges = (
            LatentEdit(sae=f.artifact, latent=f.latent, mode=Mode.NUDGE, value=weight * (f.strength or 0.0))
            for f, weight in edits.items()
        )
        return Steering(edits=tuple(nudges), dose_max=self.deployment.limits.dose_max)

    def is_coherent(self, outcome: Outcome, unsteered: Outcome) -> bool:
        """Step 3's bounds."""
        return (
            outcome.perplexity <= self.body.max_perplexity * unsteered.perplexity
            and outcome.repetition <= unsteered.repetition + REPETITION
        )


@router.post("/autosteer")
async def route(deployment: CurrentDeployment, body: AutosteerBody, request: Request) -> Autosteer:
    """Edits that do what an instruction asks, measured beside prompting and chance; none where nothing beats chance."""
    return await awaited(request, autosteer(deployment, body))


async def autosteer(deployment: Deployment, body: AutosteerBody) -> Autosteer:
    """See the module's docstring.

    Raises:
        SteeringUnsupported: There is no engine here, or it returns no log-probabilities.
        ArtifactNotFound: ``sae`` is not served.
        OverheadExceeded: Steering takes more than its budget now.
        SteeringLost: An answer was not steered as asked.
        EngineUnavailable: The engine is gone.
    """
    engine_of(deployment)
    deployment.door.check(body.asked)
    plan = await asyncio.to_thread(reading_plan, body.asked, deployment, body.model)
    room = asyncio.Semaphore(AT_ONCE)
    asking = Asking(deployment, plan.hooks, body.instruction, body.max_tokens, body.temperature, room)
    search = Search(body, plan, asking, parts_of(body.prompts))
    with deployment.users.using(plan.hooks):
        async with deployment.measuring:
            return await found(search)


async def found(search: Search) -> Autosteer:
    """Steps 1 to 5."""
    plain, told = await search.answers(0), await search.answers(0, instructed=True)
    body = search.body
    candidates = await find_candidates(body.instruction, told, plain, search.plan, search.deployment, body.candidates)
    best = await chosen(search, candidates)
    unsteered, prompting = [await search.answers(2, instructed=each) for each in (False, True)]
    if best is None:
        return answer(search, unsteered, prompting, reason=nothing_coherent(search))
    steered, both = [await search.answers(2, best, instructed=each) for each in (False, True)]
    others = await asyncio.to_thread(drawn_at_random, best, DRAWS, body.seed, search.deployment)
    chance = await search.chance(others)
    reason = refusal(search, steered, unsteered, chance)
    return answer(search, unsteered, prompting, best, steered, both, chance, reason)


async def chosen(search: Search, candidates: Sequence[Candidate]) -> Weights | None:
    """Steps 2 and 3; None where nothing is coherent."""
    unsteered = (await search.answers(1)).outcome
    for each in candidates:
        for weight in WEIGHTS:
            await tried(search, {each.feature: each.sign * weight}, unsteered)
    alone = sorted((t for t in search.tried if t[2]), key=lambda t: -t[1].effect)
    if not alone:
        return None
    best, effect = alone[0][0], alone[0][1].effect
    singles = {next(iter(edits)): edits for edits, _, _ in reversed(alone)}
    for more in list(dict.fromkeys(next(iter(edits)) for edits, _, _ in alone))[1:TOGETHER]:
        joined = best | singles[more]
        for scale in SCALES:
            scaled = {feature: scale * weight for feature, weight in joined.items()}
            outcome, coherent = await tried(search, scaled, unsteered)
            if coherent and outcome.effect > effect:
                best, effect = scaled, outcome.effect
    return best


async def tried(search: Search, edits: Weights, unsteered: Outcome) -> tuple[Outcome, bool]:
    """What answers are like under the edits, and whether they are coherent."""
    outcome = (await search.answers(1, edits)).outcome
    coherent = search.is_coherent(outcome, unsteered)
    search.tried.append((edits, outcome, coherent))
    return outcome, coherent


def refusal(search: Search, steered: Answers, unsteered: Answers, chance: Answers) -> str:
    """Step 5: why the edits are not returned; "" where they are."""
    own = steered.effects
    for name, other in (("unsteered answers", unsteered.effects), ("features drawn at random", chance.effects)):
        if not beats(own, other):
            return (
                f"the best edits have an effect of {own.mean():.3f} nats a token, which is not clearly "
                f"more than that of {name} ({other.mean():.3f}); a prompt, or more candidates, may do better"
            )
    if not search.is_coherent(steered.outcome, unsteered.outcome):
        return (
            f"the best edits break the text: a perplexity of {steered.outcome.perplexity:.3g} where unsteered answers "
            f"have {unsteered.outcome.perplexity:.3g}; max_perplexity allows more"
        )
    return ""


def beats(own: NDArray[np.float64], other: NDArray[np.float64]) -> bool:
    """Whether the mean difference is above 0 by more than ``ERRORS`` of its standard errors."""
    difference = own - other
    return bool(difference.mean() > ERRORS * difference.std(ddof=1) / np.sqrt(len(difference)))


def nothing_coherent(search: Search) -> str:
    """Why nothing was measured at all."""
    if not search.tried:
        return "no feature that can be nudged is named like the instruction, or tells the answers that follow it apart"
    return f"each of the {len(search.tried)} edits that were tried breaks the text; max_perplexity allows more"


def answer(
    search: Search, unsteered: Answers, prompting: Answers, best: Weights | None = None, steered: Answers | None = None,
    both: Answers | None = None, chance: Answers | None = None, reason: str = "",
) -> Autosteer:  # fmt: skip
    """The answer to the request."""
    order = sorted(search.tried, key=lambda each: -each[1].effect)
    return Autosteer(
        instruction=search.body.instruction,
        edits=() if reason or best is None else edits_of(best),
        reason=reason,
        unsteered=unsteered.outcome,
        prompting=prompting.outcome,
        steered=None if steered is None else steered.outcome,
        both=None if both is None else both.outcome,
        chance=None if chance is None else chance.outcome,
        tried=tuple(Trial(edits=edits_of(own), outcome=outcome, coherent=ok) for own, outcome, ok in order),
        saes=search.plan.saes,
        warnings=search.plan.notices,
    )


def edits_of(edits: Weights) -> tuple[ChosenEdit, ...]:
    return tuple(
        ChosenEdit(id=f.id, label=f.label, sae=f.artifact, latent=f.latent, weight=round(weight, 6))
        for f, weight in edits.items()
    )
