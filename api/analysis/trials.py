"""Answers of the model under edits, and what they are like, as the unsteered model itself finds them.

1. An answer to a prompt q is drawn under a steering, with or without an instruction i. The instruction is the chat's
   system message; where the model's chat template takes none, it stands before the prompt.
2. Of an answer a of n tokens, its end included, p being the unsteered model,
       effect = 1/n Σ_t log p(a_t | i, q, a_<t) − log p(a_t | q, a_<t)        coherence = 1/n Σ_t log p(a_t | q, a_<t)
   An answer that follows the instruction has a large effect, whoever wrote it: prompted answers have the effect of
   prompting. Perplexity is exp(−coherence), of all answers together.
3. Text that repeats itself has a low perplexity, so that repetition is counted beside it: the share of runs of three
   tokens that had occurred in the answer before.
"""

import asyncio
import uuid
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from api.analysis.reading import engine_of, taken
from api.analysis.together import together
from api.deployment import Deployment
from api.engine import SteeringEngine
from api.report import read_report
from featurehub.autosteer import Outcome
from featurehub.edits import Steering
from featurehub.errors import InvalidInput
from featurehub.token_ids import Message

__all__ = ["AT_ONCE", "NOTHING", "Answers", "Asking", "GeneratedAnswer", "drawn"]

AT_ONCE = 16
"""Answers that are drawn at once, while the others of a request wait."""
RUN = 3
NOTHING = Steering()


class Asking(NamedTuple):
    """How answers are asked for.

    Attributes:
        deployment: Its engine answers.
        hooks: By SAE of all steerings, its hook point.
        instruction: The instruction.
        tokens: Longest answer.
        temperature: Of sampling.
        room: Bounds what is asked of the engine at once.
    """

    deployment: Deployment
    hooks: Mapping[str, str]
    instruction: str
    tokens: int
    temperature: float
    room: asyncio.Semaphore

    async def ids(self, prompt: str, *, instructed: bool) -> list[int]:
        """The tokens of a prompt, with or without the instruction. Raises InvalidInput."""
        user = {"role": "user", "content": prompt}
        if not instructed:
            return await self.rendered([user])
        try:
            return await self.rendered([{"role": "system", "content": self.instruction}, user])
        except InvalidInput:
            return await self.rendered([{"role": "user", "content": f"{self.instruction}\n\n{prompt}"}])

    async def rendered(self, chat: Sequence[Message]) -> list[int]:
        """The tokens of a chat that the model is to answer. Raises InvalidInput."""
        engine = engine_of(self.deployment)
        return (await asyncio.to_thread(engine.tokens, chat, to_continue=True)).ids


class GeneratedAnswer(NamedTuple):
    """An answer to a prompt.

    Attributes:
        prompt: Tokens of the prompt, without the instruction.
        tokens: Those of the answer.
        effect: Of the answer, in nats for each token.
        coherence: Its mean log-probability, in nats.
    """

    prompt: list[int]
    tokens: list[int]
    effect: float
    coherence: float


class Answers(NamedTuple):
    """Answers to several prompts, in their order."""

    answers: tuple[GeneratedAnswer, ...]

    @property
    def effects(self) -> NDArray[np.float64]:
        """[answers]"""
        return np.array([each.effect for each in self.answers])

    def texts(self, engine: SteeringEngine) -> list[str]:
        """What they say, without the last token: it ends the answer, or is the one that was too much."""
        return ["".join(engine.pieces(each.tokens[:-1])).strip() for each in self.answers]

    @property
    def outcome(self) -> Outcome:
        """What they are like together."""
        lengths = np.array([len(each.tokens) for each in self.answers])
        coherence = np.array([each.coherence for each in self.answers])
        error = self.effects.std(ddof=1) / np.sqrt(len(self.answers)) if len(self.answers) > 1 else 0.0
        return Outcome(
            effect=float(self.effects.mean()),
            error=float(error),
            perplexity=float(np.exp(-(coherence @ lengths) / lengths.sum())),
            repetition=float(np.mean([repetition(each.tokens) for each in self.answers])),
        )


async def drawn(
    asking: Asking, prompts: Sequence[str], steering: Steering = NOTHING, *, instructed: bool = False, seed: int = 0
) -> Answers:
    """An answer to each prompt.

    Args:
        asking: How they are asked for.
        prompts: The prompts.
        steering: What is steered, in SAEs of ``asking.hooks``.
        instructed: Whether the model is given the instruction.
        seed: The first prompt's; each further one has the next.

    Raises:
        SteeringLost: An answer was not steered as asked.
        EngineUnavailable: The engine is gone.
    """

    async def one(place: tuple[int, str]) -> GeneratedAnswer:
        at, prompt = place
        return await answer(asking, prompt, steering, instructed, seed + at)

    return Answers(tuple(await together(one, enumerate(prompts))))


async def answer(asking: Asking, prompt: str, steering: Steering, instructed: bool, seed: int) -> GeneratedAnswer:
    """Steps 1 and 2, for one prompt."""
    async with asking.room:
        plain, told = await asking.ids(prompt, instructed=False), await asking.ids(prompt, instructed=True)
        tokens = await generated(asking, told if instructed else plain, steering, seed)
        engine = engine_of(asking.deployment)
        likely = [np.mean(await engine.likelihoods([*ids, *tokens], len(ids))) for ids in (plain, told)]
    return GeneratedAnswer(plain, tokens, float(likely[1] - likely[0]), float(likely[0]))


async def generated(asking: Asking, ids: Sequence[int], steering: Steering, seed: int) -> list[int]:
    """The tokens of an answer, once it is known that it was steered."""
    engine = engine_of(asking.deployment)
    if steering.is_nothing:
        return await engine.generate(ids, NOTHING, tokens=asking.tokens, temperature=asking.temperature, seed=seed)
    keyed = msgspec.structs.replace(steering, report=uuid.uuid4().hex)
    async with taken(keyed.report, engine):
        tokens = await engine.generate(ids, keyed, tokens=asking.tokens, temperature=asking.temperature, seed=seed)
    read_report(await engine.report(keyed.report), keyed, asking.hooks)
    return tokens


def repetition(tokens: Sequence[int]) -> float:
    """Step 3; 0 for an answer that is too short for a run."""
    runs = list(zip(*(tokens[start:] for start in range(RUN)), strict=False))
    return 1 - len(set(runs)) / len(runs) if runs else 0.0
