"""Lets the model answer under steerings, and counts what a judge says about the answers."""

import math
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple, Protocol

import numpy as np

from featurehub.edits import LatentEdit, Steering
from featurehub.engine.offline import Generation, Sampling
from featurehub.features import Mode
from featurehub.records import Label

__all__ = ["AnswerTally", "Bench", "Candidate", "Generator", "SteeringJudge", "Trials", "coefficient"]


class Candidate(NamedTuple):
    """A labelled feature that may be steered.

    Attributes:
        latent: Index in the SAE.
        label: The whole label.
        name: The label's name; features with one name mean the same.
        label_score: How well the label detects the latent's firing, in [0, 1].
        norm: Length of its steering vector (``Dictionary.nudges``).
        unsteered: Share of unsteered answers that show the label, in [0, 1], on the prompts that choose.
        ease: Share of the SAE's features that have no higher output score, above 0; 1 where none has one.
    """

    latent: int
    label: Label
    name: str
    label_score: float
    norm: float
    unsteered: float = 0.0
    ease: float = 1.0

    @property
    def promise(self) -> float:
        """``label_score`` · (1 − ``unsteered``) · ``ease``, in [0, 1]."""
        return self.label_score * (1.0 - self.unsteered) * self.ease


class Generator(Protocol):
    """The served model with the SAE, such as ``featurehub.engine.offline.Engine``."""

    def generate(
        self, prompts: Sequence[Sequence[int]], steerings: Sequence[Steering | None], sampling: Sampling
    ) -> Iterator[Generation]:
        """One answer per prompt, in order.

        Args:
            prompts: Token ids of each prompt.
            steerings: The steering of each prompt; None for an unsteered answer.
            sampling: How answers are drawn.
        """
        ...


class SteeringJudge(Protocol):
    """Judges texts: whether each shows what a label names, and whether it is still coherent."""

    def shows(self, label: Label, texts: Sequence[str]) -> np.ndarray:
        """Whether each text shows what the label names, [texts] bool."""
        ...

    def coherent(self, texts: Sequence[str]) -> np.ndarray:
        """Whether each text is still coherent, [texts] bool."""
        ...


class AnswerTally(NamedTuple):
    """Outcomes of one candidate at one dose.

    Attributes:
        answers: How many answers there are.
        shown: How many of them show the label.
        coherent: How many of them are coherent.
    """

    answers: int = 0
    shown: int = 0
    coherent: int = 0

    def __add__(self, other: "AnswerTally") -> "AnswerTally":  # type: ignore[override]
        return AnswerTally(self.answers + other.answers, self.shown + other.shown, self.coherent + other.coherent)

    @property
    def success(self) -> float:
        """Share of answers that show the label."""
        return self.shown / max(1, self.answers)

    @property
    def coherence(self) -> float:
        """Share of answers that are coherent."""
        return self.coherent / max(1, self.answers)

    @property
    def merit(self) -> float:
        """``success`` · ``coherence``."""
        return self.success * self.coherence


Trials = dict[tuple[int, float], AnswerTally]
"""The outcomes by latent and dose."""


class Bench:
    """Lets the model answer under many steerings at a time, and judges the answers. No seed is used twice.

    Attributes:
        generator: The model.
        median_norm: Median ‖x‖ of the residual stream at the SAE's hook point.
        judge: Judges the answers.
        sampling: How answers are drawn; its seed is that of the first answer.
        per_run: Answers per call of the generator.
        progress: Called with ``tokens`` after each call of the generator.
        done: Answers given so far.
        tokens: Tokens that these answers might have had; most end by themselves before that.
    """

    def __init__(
        self, generator: Generator, median_norm: float, judge: SteeringJudge, sampling: Sampling, per_run: int
    ) -> None:
        self.generator, self.median_norm, self.judge = generator, median_norm, judge
        self.sampling, self.per_run = sampling, per_run
        self.progress: Callable[[int], None] = lambda tokens: None
        self.done = self.tokens = 0

    def unsteered(self, prompts: Sequence[list[int]], count: int, first: int = 0) -> list[str]:
        """The texts of the unsteered answers ``first`` to ``count`` to the prompts, which are used in turn."""
        asked = [(prompts[i % len(prompts)], None) for i in range(first, count)]
        return self.answer(asked, self.sampling.max_tokens)

    def run(
        self,
        arms: Sequence[tuple[Candidate, float]],
        prompts: Sequence[list[int]],
        answers: int,
        tokens: int | None = None,
    ) -> Trials:
        """Steers every candidate at its dose and counts the outcomes.

        Args:
            arms: Candidates, each with the dose of its nudge.
            prompts: Token ids; used in turn.
            answers: How many answers each arm gives.
            tokens: Most tokens of an answer; None for as many as any answer may have.
        """
        requests = [
            (prompts[i % len(prompts)], nudge(candidate, dose, self.median_norm))
            for candidate, dose in arms
            for i in range(answers)
        ]
        texts = self.answer(requests, min(tokens or self.sampling.max_tokens, self.sampling.max_tokens))
        return {
            (candidate.latent, dose): self.judged(candidate, texts[i * answers : (i + 1) * answers])
            for i, (candidate, dose) in enumerate(arms)
        }

    def answer(self, requests: Sequence[tuple[list[int], Steering | None]], tokens: int) -> list[str]:
        """The text of the answer to each prompt under its steering, each of at most so many tokens."""
        texts: list[str] = []
        for start in range(0, len(requests), self.per_run):
            prompts, steerings = zip(*requests[start : start + self.per_run], strict=True)
            own = {"seed": self.sampling.seed + self.done, "max_tokens": tokens}
            sampling = self.sampling.model_copy(update=own)
            texts += [answer.text for answer in self.generator.generate(prompts, steerings, sampling)]
            self.done += len(prompts)
            self.tokens += tokens * len(prompts)
            self.progress(self.tokens)
        return texts

    def judged(self, candidate: Candidate, texts: Sequence[str]) -> AnswerTally:
        """Counts what the judge says about a candidate's answers."""
        shown, coherent = self.judge.shows(candidate.label, texts), self.judge.coherent(texts)
        return AnswerTally(len(texts), int(shown.sum()), int(coherent.sum()))


def nudge(candidate: Candidate, dose: float, median_norm: float) -> Steering:
    edit = LatentEdit(latent=candidate.latent, mode=Mode.NUDGE, value=coefficient(candidate, dose, median_norm))
    return Steering(edits=(edit,))


def coefficient(candidate: Candidate, dose: float, median_norm: float) -> float:
    """The raw coefficient of a nudge that has this dose; infinite for a row of zeros, which no factor makes longer.

    Args:
        candidate: The feature that is nudged.
        dose: ‖Δ‖ relative to ``median_norm``.
        median_norm: Median ‖x‖ of the residual stream at the hook point.
    """
    return dose * median_norm / candidate.norm if candidate.norm else math.inf
