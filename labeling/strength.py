"""What weight 1.0 stands for: a strength per feature, found by really steering.

A feature that reads well need not write well, so its strength is searched on prompts that no evaluation uses. What is
chosen by a few answers looks better in these than it is, so one half of the prompts chooses and the other confirms.

1. The unsteered model answers every prompt; a label's unsteered share is how often its answers show it anyway.
2. promise = label score · (1 − unsteered share): what an answer shows anyway cannot be steered towards. Candidates: the
   ``names`` whose best promise is highest, and of the features that share such a name, the ``candidates_per_name`` with
   the best promise. Features without promise are not tried.
3. Screening: every candidate answers under every dose in ``doses``, with few answers each. A dose d becomes the raw
   coefficient s = d · median‖x‖ / ‖W_dec[f]‖ of a nudge.
4. Refining: of each name, the ``finalists`` with the best merit answer again at their two best doses. merit = share of
   answers that show the label · share that are coherent. A candidate's dose is the one with the best merit over both
   rounds; of a finalist's, one of the two.
5. Confirmation: every candidate answers at its dose, on the other half of the prompts, the finalists most often.
   Steerability is the share of these answers alone that show the label, less the unsteered share on the same prompts.

Every other feature gets the median of the doses found, and no steerability: it was never steered. One whose decoder row
is zero, or too short for any dose within what an edit may carry, has no strength, and a steerability of 0.
"""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from statistics import median

from pydantic import Field

from featurehub.edits import LARGEST
from featurehub.engine.offline import Sampling
from featurehub.records import Calibration, Trial
from featurehub.settings import Frozen
from labeling.bench import AnswerTally, Bench, Candidate, Generator, SteeringJudge, Trials, coefficient

__all__ = [
    "CalibrationConfig",
    "Candidate",
    "Generator",
    "SteeringJudge",
    "calibrate",
    "choose_candidates",
    "coefficient",
]


class CalibrationConfig(Frozen):
    """How many answers are given to find strengths.

    Attributes:
        doses: Doses that are tried, ‖Δ‖ as shares of the stream's median norm.
        names: How many names have features that are tried.
        candidates_per_name: Features of one name that are tried.
        finalists: How many of them are refined with more answers.
        answers: Answers per candidate and dose in screening and refining, and when confirming a candidate that is not a
            finalist.
        confirm: Answers when confirming a finalist.
        per_run: Answers per engine call.
        sampling: How answers are drawn.
    """

    doses: tuple[float, ...] = (0.3, 0.45, 0.6, 0.75)
    names: int = Field(default=80, ge=1)
    candidates_per_name: int = Field(default=2, ge=1)
    finalists: int = Field(default=2, ge=1)
    answers: int = Field(default=8, ge=1)
    confirm: int = Field(default=16, ge=1)
    per_run: int = Field(default=1024, ge=1)
    sampling: Sampling = Sampling(temperature=0.7, max_tokens=96, seed=101)


def choose_candidates(features: Sequence[Candidate], config: CalibrationConfig) -> list[Candidate]:
    """Step 2. Names with equal promise are taken in alphabetical order.

    Args:
        features: Labelled features that can write.
        config: How many names, and how many features of each, to choose.
    """
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
    """Finds the strength of every feature by steering the model.

    Args:
        generator: The served model with the SAE.
        features: Labelled features.
        prompts: Token ids of each prompt; no evaluation may use them.
        median_norm: Median ‖x‖ of the stream at the SAE's hook point.
        judge: Judges the answers.
        config: How many answers to give.
        progress: Called with the number of answers given and the number planned.

    Returns:
        A calibration for every feature, by latent.
    """
    bench = Bench(generator, median_norm, judge, config.sampling, config.per_run)
    choosing, confirming = halves(prompts)
    before = bench.unsteered(features, choosing, unsteered_answers(len(choosing), config))
    unsteered = bench.unsteered(features, confirming, unsteered_answers(len(confirming), config))
    able = [f._replace(unsteered=before[f.latent]) for f in features if can_write(f, median_norm, config)]
    candidates = choose_candidates(able, config)
    planned = planned_answers(candidates, len(prompts), config)
    bench.progress = lambda done: progress(done, planned)
    trials = bench.run([(c, dose) for c in candidates for dose in config.doses], choosing, config.answers)
    finalists = choose_finalists(candidates, trials, config)
    again = bench.run([(f, d) for f in finalists for d in best_doses(f, trials)[:2]], choosing, config.answers)
    trials |= {arm: trials[arm] + tally for arm, tally in again.items()}
    arms = [(candidate, settled_dose(candidate, trials)) for candidate in candidates]
    confirmed = bench.run([arm for arm in arms if arm[0] in finalists], confirming, config.confirm)
    confirmed |= bench.run([arm for arm in arms if arm[0] not in finalists], confirming, config.answers)
    found = {
        c.latent: conclude(c, confirmed[c.latent, d], d, unsteered[c.latent], trials, median_norm) for c, d in arms
    }
    usual = median([dose for _, dose in arms] or [median(config.doses)])
    rest = {f.latent: untested(f, usual, unsteered, median_norm) for f in able}
    return {f.latent: silent(unsteered[f.latent]) for f in features} | rest | found


def halves(prompts: Sequence[list[int]]) -> tuple[Sequence[list[int]], Sequence[list[int]]]:
    """The prompts that choose, and the prompts that confirm; a single prompt does both."""
    return prompts[::2], prompts[1::2] or prompts


def can_write(feature: Candidate, median_norm: float, config: CalibrationConfig) -> bool:
    """Whether an edit can carry the feature's strength at every dose."""
    return coefficient(feature, max(config.doses), median_norm) <= LARGEST


def choose_finalists(candidates: Sequence[Candidate], trials: Trials, config: CalibrationConfig) -> list[Candidate]:
    return [
        finalist
        for rivals in group(candidates).values()
        for finalist in sorted(rivals, key=lambda c: -best_merit(c, trials))[: config.finalists]
    ]


def planned_answers(candidates: Sequence[Candidate], prompts: int, config: CalibrationConfig) -> int:
    finalists = sum(min(len(rivals), config.finalists) for rivals in group(candidates).values())
    unsteered = sum(unsteered_answers(len(half), config) for half in halves([[]] * prompts))
    screening = len(candidates) * len(config.doses) * config.answers
    refining = finalists * min(2, len(config.doses)) * config.answers
    confirming = finalists * config.confirm + (len(candidates) - finalists) * config.answers
    return unsteered + screening + refining + confirming


def unsteered_answers(prompts: int, config: CalibrationConfig) -> int:
    return max(config.confirm, 8 * prompts)


def group(features: Sequence[Candidate]) -> Mapping[str, list[Candidate]]:
    by_name: defaultdict[str, list[Candidate]] = defaultdict(list)
    for feature in features:
        by_name[feature.name].append(feature)
    return by_name


def best_doses(candidate: Candidate, trials: Trials) -> list[float]:
    """The candidate's doses with the best merit first; among equals the smaller dose."""
    doses = sorted(dose for latent, dose in trials if latent == candidate.latent)
    return sorted(doses, key=lambda dose: -trials[candidate.latent, dose].merit)


def best_merit(candidate: Candidate, trials: Trials) -> float:
    return trials[candidate.latent, best_doses(candidate, trials)[0]].merit


def settled_dose(candidate: Candidate, trials: Trials) -> float:
    """Step 4. Doses that were refined are preferred to doses that were only screened."""
    doses = best_doses(candidate, trials)
    most = max(trials[candidate.latent, dose].answers for dose in doses)
    return next(dose for dose in doses if trials[candidate.latent, dose].answers == most)


def conclude(
    candidate: Candidate, confirmed: AnswerTally, dose: float, share: float, trials: Trials, median_norm: float
) -> Calibration:
    """Step 5. ``share`` is the share of the unsteered answers that show the label."""
    return Calibration(
        strength=coefficient(candidate, dose, median_norm),
        dose=dose,
        steerability=confirmed.success - share,
        unsteered=share,
        coherence=confirmed.coherence,
        curve=tuple(trial(candidate, d, trials, median_norm) for d in sorted(best_doses(candidate, trials))),
        method="steered",
    )


def trial(candidate: Candidate, dose: float, trials: Trials, median_norm: float) -> Trial:
    tally = trials[candidate.latent, dose]
    strength = coefficient(candidate, dose, median_norm)
    return Trial(strength=strength, dose=dose, success=tally.success, coherence=tally.coherence)


def untested(candidate: Candidate, dose: float, unsteered: Mapping[int, float], median_norm: float) -> Calibration:
    strength = coefficient(candidate, dose, median_norm)
    return Calibration(strength=strength, dose=dose, unsteered=unsteered[candidate.latent], method="dose")


def silent(unsteered: float) -> Calibration:
    """The calibration of a feature that reads and never writes."""
    return Calibration(strength=None, dose=0.0, steerability=0.0, unsteered=unsteered, method="writes nothing")
