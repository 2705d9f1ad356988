"""What weight 1.0 stands for: a strength per feature, found by really steering.

A feature that reads well need not write well, so its strength is searched on prompts that no evaluation uses.

1. The unsteered model answers every prompt; a label's unsteered share is how often its answers show it anyway.
2. promise = label score · (1 − unsteered share): what an answer shows anyway cannot be steered towards. Candidates: the
   ``names`` whose best promise is highest, and of the features that share such a name, the ``candidates_per_name`` with
   the best promise; none without any.
3. Screening: every candidate answers under every dose in ``doses``, with few answers each. A dose d becomes the raw
   coefficient s = d · median‖x‖ / ‖W_dec[f]‖ of a nudge.
4. Confirmation: of each name, the ``finalists`` with the best merit answer again, with more answers, at their two best
   doses. merit = share of answers that show the label · share that are coherent.
5. strength is the coefficient of the dose with the best merit over both rounds; steerability is the share of answers
   that show the label there, less the unsteered share.

Every other feature gets the median of the doses found, and no steerability: it was never steered.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from statistics import median
from typing import NamedTuple, Protocol

import numpy as np
from pydantic import Field

from featurehub.edits import LatentEdit, Steering
from featurehub.engine.offline import Generation, Sampling
from featurehub.features import Mode
from featurehub.records import Calibration, Trial
from featurehub.settings import Frozen

__all__ = ["CalibrationConfig", "Candidate", "Generator", "SteeringJudge", "calibrate", "choose_candidates"]


class CalibrationConfig(Frozen):
    """answers: per candidate and dose, screening;  confirm: per finalist and dose;  per_run: per engine call."""

    doses: tuple[float, ...] = (0.3, 0.45, 0.6, 0.75)
    names: int = Field(default=80, ge=1)
    candidates_per_name: int = Field(default=2, ge=1)
    finalists: int = Field(default=2, ge=1)
    answers: int = Field(default=8, ge=1)
    confirm: int = Field(default=16, ge=1)
    per_run: int = Field(default=1024, ge=1)
    sampling: Sampling = Sampling(temperature=0.7, max_tokens=96, seed=101)


class Candidate(NamedTuple):
    """name: what features share that mean the same (the label's head);  norm: ‖W_dec[latent]‖;  unsteered: share."""

    latent: int
    label: str
    name: str
    label_score: float
    norm: float
    unsteered: float = 0.0

    @property
    def promise(self) -> float:
        return self.label_score * (1.0 - self.unsteered)


class Generator(Protocol):
    """The served model with the SAE; ``featurehub.engine.offline.Engine`` is one."""

    def generate(
        self, prompts: Sequence[Sequence[int]], steerings: Sequence[Steering | None], sampling: Sampling
    ) -> Iterator[Generation]: ...


class SteeringJudge(Protocol):
    """Says of each text whether it shows what a label names, and whether it is still coherent. [texts] bool each."""

    def shows(self, label: str, texts: Sequence[str]) -> np.ndarray: ...

    def coherent(self, texts: Sequence[str]) -> np.ndarray: ...


class Tally(NamedTuple):
    """Outcomes of one candidate at one dose."""

    answers: int = 0
    shown: int = 0
    coherent: int = 0

    def __add__(self, other: "Tally") -> "Tally":  # type: ignore[override]
        return Tally(self.answers + other.answers, self.shown + other.shown, self.coherent + other.coherent)

    @property
    def success(self) -> float:
        return self.shown / max(1, self.answers)

    @property
    def coherence(self) -> float:
        return self.coherent / max(1, self.answers)

    @property
    def merit(self) -> float:
        return self.success * self.coherence


Trials = dict[tuple[int, float], Tally]
"""By latent and dose."""


def choose_candidates(features: Sequence[Candidate], config: CalibrationConfig) -> list[Candidate]:
    """Step 2. Of names with equal promise the alphabet decides."""
    by_name = group([feature for feature in features if feature.promise > 0])
    best = sorted(by_name, key=lambda name: (-max(c.promise for c in by_name[name]), name))
    return [
        candidate
        for name in best[: config.names]
        for candidate in sorted(by_name[name], key=lambda c: -c.promise)[: config.candidates_per_name]
    ]


def calibrate(
    generator: Generator,
    features: Sequence[Candidate],
    prompts: Sequence[list[int]],
    median_norm: float,
    judge: SteeringJudge,
    config: CalibrationConfig,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> dict[int, Calibration]:
    """A calibration for every feature, by latent. ``progress`` is called with answers given and answers planned."""
    bench = Bench(generator, prompts, median_norm, judge, config)
    unsteered = bench.unsteered()
    features = [f._replace(unsteered=float(judge.shows(f.label, unsteered).mean())) for f in features]
    candidates = choose_candidates(features, config)
    planned = planned_answers(candidates, len(prompts), config)
    bench.progress = lambda done: progress(done, planned)
    trials = bench.run([(c, dose) for c in candidates for dose in config.doses], config.answers)
    finals = [
        (finalist, dose)
        for rivals in group(candidates).values()
        for finalist in sorted(rivals, key=lambda c: -best_merit(c, trials))[: config.finalists]
        for dose in best_doses(finalist, trials)[:2]
    ]
    for key, tally in bench.run(finals, config.confirm).items():
        trials[key] += tally
    found = {c.latent: conclude(c, trials, median_norm) for c in candidates}
    usual = median([calibration.dose for calibration in found.values()] or [median(config.doses)])
    return {f.latent: found.get(f.latent) or untested(f, usual, median_norm) for f in features}


def planned_answers(candidates: Sequence[Candidate], prompts: int, config: CalibrationConfig) -> int:
    finalists = sum(min(len(rivals), config.finalists) for rivals in group(candidates).values())
    screening = len(candidates) * len(config.doses) * config.answers
    return unsteered_answers(prompts, config) + screening + finalists * min(2, len(config.doses)) * config.confirm


def unsteered_answers(prompts: int, config: CalibrationConfig) -> int:
    return max(config.confirm, 8 * prompts)


class Bench:
    """Lets the model answer under many steerings, many at a time, and judges the answers."""

    def __init__(
        self,
        generator: Generator,
        prompts: Sequence[list[int]],
        median_norm: float,
        judge: SteeringJudge,
        config: CalibrationConfig,
    ) -> None:
        self.generator, self.prompts, self.median_norm = generator, prompts, median_norm
        self.judge, self.config = judge, config
        self.progress: Callable[[int], None] = lambda done: None
        self.done = 0

    def unsteered(self) -> list[str]:
        count = unsteered_answers(len(self.prompts), self.config)
        return self.answer([(self.prompts[i % len(self.prompts)], None) for i in range(count)])

    def run(self, arms: Sequence[tuple[Candidate, float]], answers: int) -> Trials:
        requests = [
            (self.prompts[i % len(self.prompts)], nudge(candidate, dose, self.median_norm))
            for candidate, dose in arms
            for i in range(answers)
        ]
        texts = self.answer(requests)
        return {
            (candidate.latent, dose): self.judged(candidate, texts[i * answers : (i + 1) * answers])
            for i, (candidate, dose) in enumerate(arms)
        }

    def answer(self, requests: Sequence[tuple[list[int], Steering | None]]) -> list[str]:
        texts: list[str] = []
        for start in range(0, len(requests), self.config.per_run):
            prompts, steerings = zip(*requests[start : start + self.config.per_run], strict=True)
            sampling = self.config.sampling.model_copy(update={"seed": self.config.sampling.seed + self.done})
            texts += [answer.text for answer in self.generator.generate(prompts, steerings, sampling)]
            self.done += len(prompts)
            self.progress(self.done)
        return texts

    def judged(self, candidate: Candidate, texts: Sequence[str]) -> Tally:
        shown, coherent = self.judge.shows(candidate.label, texts), self.judge.coherent(texts)
        return Tally(len(texts), int(shown.sum()), int(coherent.sum()))


def nudge(candidate: Candidate, dose: float, median_norm: float) -> Steering:
    edit = LatentEdit(latent=candidate.latent, mode=Mode.NUDGE, value=coefficient(candidate, dose, median_norm))
    return Steering(edits=(edit,))


def coefficient(candidate: Candidate, dose: float, median_norm: float) -> float:
    return dose * median_norm / candidate.norm


def group(features: Sequence[Candidate]) -> Mapping[str, list[Candidate]]:
    by_name: defaultdict[str, list[Candidate]] = defaultdict(list)
    for feature in features:
        by_name[feature.name].append(feature)
    return by_name


def best_doses(candidate: Candidate, trials: Trials) -> list[float]:
    """Best merit first; of equals the smaller dose."""
    doses = sorted(dose for latent, dose in trials if latent == candidate.latent)
    return sorted(doses, key=lambda dose: -trials[candidate.latent, dose].merit)


def best_merit(candidate: Candidate, trials: Trials) -> float:
    return trials[candidate.latent, best_doses(candidate, trials)[0]].merit


def conclude(candidate: Candidate, trials: Trials, median_norm: float) -> Calibration:
    """Step 5. Doses that were confirmed go before ones that were only screened."""
    doses = best_doses(candidate, trials)
    most = max(trials[candidate.latent, dose].answers for dose in doses)
    dose = next(dose for dose in doses if trials[candidate.latent, dose].answers == most)
    tally = trials[candidate.latent, dose]
    return Calibration(
        strength=coefficient(candidate, dose, median_norm),
        dose=dose,
        steerability=tally.success - candidate.unsteered,
        unsteered=candidate.unsteered,
        coherence=tally.coherence,
        curve=tuple(trial(candidate, d, trials, median_norm) for d in sorted(doses)),
        method="steered",
    )


def trial(candidate: Candidate, dose: float, trials: Trials, median_norm: float) -> Trial:
    tally = trials[candidate.latent, dose]
    strength = coefficient(candidate, dose, median_norm)
    return Trial(strength=strength, dose=dose, success=tally.success, coherence=tally.coherence)


def untested(candidate: Candidate, dose: float, median_norm: float) -> Calibration:
    strength = coefficient(candidate, dose, median_norm)
    return Calibration(strength=strength, dose=dose, unsteered=candidate.unsteered, method="dose")
