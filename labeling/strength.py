"""What weight 1.0 stands for: a strength per feature, found by really steering.

A feature that reads well need not write well, so its strength is searched on prompts that no evaluation uses. What is
chosen by a few answers looks better in these than it is, so one half of the prompts chooses and the other confirms.

1. The unsteered model answers every prompt; a label's unsteered share is how often its answers show it anyway.
2. Candidates are tried in rounds, the most promising names first (``labeling.calibration``).
3. Screening: every candidate of a round answers under rising doses, with few and short answers each. A dose d becomes
   the raw coefficient s = d · median‖x‖ / ‖v_f‖ of a nudge, v_f being the feature's steering vector. Where a dose has
   broken the text, higher ones are not tried.
4. Refining: of each name, the ``finalists`` with the best merit answer again at their two best doses, at full length.
   merit = share of answers that show the label · share that are coherent. A candidate's dose is the one with the best
   merit over both; of a finalist's, one of the two.
5. Confirmation: every candidate answers at its dose, on the other half of the prompts, the finalists most often.
   Steerability is the share of these answers alone that show the label, less the unsteered share on the same prompts.

Every other feature gets the usual dose, the median of the doses found, and no steerability: it was never steered. One
whose decoder row is zero, or too short for any dose within what an edit may carry, has no strength, and a steerability
of 0.

A nudge reaches all of a request's tokens, as it does for users, so that each arm computes its prompts for itself: their
KV blocks could be shared only if steering left the prompt alone, and that would measure something else.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from statistics import median
from typing import NamedTuple

from featurehub.records import Calibration, Trial
from labeling.bench import AnswerTally, Bench, Candidate, Generator, SteeringJudge, Trials, coefficient
from labeling.calibration import CalibrationConfig, can_write, choose_candidates, group, rounds, tokens_of

__all__ = [
    "CalibrationConfig",
    "Calibrator",
    "Candidate",
    "Generator",
    "SteeringJudge",
    "UnsteeredAnswers",
    "calibrate",
    "choose_candidates",
    "coefficient",
    "default_calibration",
    "usual_dose",
]


class UnsteeredAnswers(NamedTuple):
    """What the model answers by itself.

    Attributes:
        choosing: Answers to the prompts that choose.
        confirming: Answers to the prompts that confirm.
    """

    choosing: list[str]
    confirming: list[str]


class Calibrator:
    """Finds strengths, round by round.

    Attributes:
        bench: Lets the model answer, and counts.
        config: How many answers are given.
        choosing: The prompts that choose.
        confirming: The prompts that confirm; a single prompt does both.
        unsteered: What the model answers by itself; given, or found by ``listen``.
    """

    def __init__(self, bench: Bench, prompts: Sequence[list[int]], config: CalibrationConfig) -> None:
        self.bench, self.config = bench, config
        self.choosing, self.confirming = prompts[::2], prompts[1::2] or prompts
        self.unsteered = UnsteeredAnswers([], [])

    @property
    def unheard(self) -> int:
        """Most tokens of the unsteered answers that ``listen`` lacks."""
        lacking = (max(0, self.config.unsteered - len(texts)) for texts in self.unsteered)
        return sum(lacking) * self.config.sampling.max_tokens

    def listen(self) -> None:
        """Step 1: lets the unsteered model answer, as often as it has not answered yet."""
        count, known = self.config.unsteered, self.unsteered
        choosing = self.bench.unsteered(self.choosing, count, len(known.choosing))
        confirming = self.bench.unsteered(self.confirming, count, len(known.confirming))
        self.unsteered = UnsteeredAnswers(known.choosing + choosing, known.confirming + confirming)

    def candidates(self, features: Sequence[Candidate]) -> list[Candidate]:
        """Step 2: those of the features that are tried, the most promising names first.

        Args:
            features: Labelled features.
        """
        able = [f for f in features if can_write(f, self.bench.median_norm, self.config)]
        return choose_candidates(
            [f._replace(unsteered=self.share(f, self.unsteered.choosing)) for f in able], self.config
        )

    def share(self, feature: Candidate, texts: Sequence[str]) -> float:
        """The share of these texts that show a feature's label."""
        return float(self.bench.judge.shows(feature.label, texts).mean())

    def round(self, candidates: Sequence[Candidate]) -> dict[int, Calibration]:
        """Steps 3 to 5 for some candidates. Those that share a name belong into one round.

        Returns:
            Their calibrations by latent.
        """
        trials = self.screen(candidates)
        finalists = choose_finalists(candidates, trials, self.config)
        arms = [(f, dose) for f in finalists for dose in best_doses(f, trials)[:2]]
        again = self.bench.run(arms, self.choosing, self.config.answers)
        trials |= {arm: trials[arm] + tally for arm, tally in again.items()}
        settled = {c: settled_dose(c, trials) for c in candidates}
        return {c.latent: self.conclude(c, settled[c], tally, trials) for c, tally in self.confirm(settled, finalists)}

    def again(self, doses: Mapping[Candidate, float]) -> dict[int, Calibration]:
        """Measures candidates at doses that were found for them before, on the prompts that confirm.

        Returns:
            Their calibrations by latent.
        """
        tallies = self.bench.run(list(doses.items()), self.confirming, self.config.confirm)
        return {c.latent: self.conclude(c, dose, tallies[c.latent, dose], tallies) for c, dose in doses.items()}

    def screen(self, candidates: Sequence[Candidate]) -> Trials:
        least = self.config.coherent_min * float(self.bench.judge.coherent(self.unsteered.choosing).mean())
        standing, trials = list(candidates), Trials()
        for dose in sorted(self.config.doses):
            arms = [(candidate, dose) for candidate in standing]
            trials |= self.bench.run(arms, self.choosing, self.config.answers, self.config.screen_tokens)
            standing = [each for each in standing if trials[each.latent, dose].coherence >= least]
        return trials

    def confirm(
        self, settled: Mapping[Candidate, float], finalists: Sequence[Candidate]
    ) -> list[tuple[Candidate, AnswerTally]]:
        often, seldom = ([arm for arm in settled.items() if (arm[0] in finalists) is among] for among in (True, False))
        found = self.bench.run(often, self.confirming, self.config.confirm)
        found |= self.bench.run(seldom, self.confirming, self.config.answers)
        return [(candidate, found[candidate.latent, dose]) for candidate, dose in settled.items()]

    def conclude(self, candidate: Candidate, dose: float, confirmed: AnswerTally, trials: Trials) -> Calibration:
        """The calibration of a candidate from what its chosen dose did on the prompts that confirm."""
        share, norm = self.share(candidate, self.unsteered.confirming), self.bench.median_norm
        return Calibration(
            strength=coefficient(candidate, dose, norm),
            dose=dose,
            steerability=confirmed.success - share,
            unsteered=share,
            coherence=confirmed.coherence,
            answers=confirmed.answers,
            curve=tuple(trial(candidate, each, trials, norm) for each in sorted(best_doses(candidate, trials))),
            method="steered",
        )


def calibrate(
    generator: Generator,
    features: Sequence[Candidate],
    prompts: Sequence[list[int]],
    median_norm: float,
    judge: SteeringJudge,
    config: CalibrationConfig,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> dict[int, Calibration]:
    """Finds the strength of every feature by steering the model, in as many rounds as it takes.

    Args:
        generator: The served model with the SAE.
        features: Labelled features.
        prompts: Token ids of each prompt; no evaluation may use them.
        median_norm: Median ‖x‖ of the stream at the SAE's hook point.
        judge: Judges the answers.
        config: How many answers to give.
        progress: Called with the tokens that were answered and the number planned, both at most.

    Returns:
        A calibration for every feature, by latent.
    """
    calibrator = Calibrator(Bench(generator, median_norm, judge, config.sampling, config.per_run), prompts, config)
    calibrator.listen()
    candidates, found = calibrator.candidates(features), dict[int, Calibration]()
    planned = calibrator.bench.tokens + tokens_of(candidates, config)
    calibrator.bench.progress = lambda done: progress(done, planned)
    for each in rounds(candidates, config):
        found |= calibrator.round(each)
    usual = usual_dose(found.values(), config)
    shares = {f: calibrator.share(f, calibrator.unsteered.confirming) for f in features}
    rest = {f.latent: default_calibration(f, usual, median_norm, config, share) for f, share in shares.items()}
    return rest | found


def usual_dose(found: Iterable[Calibration], config: CalibrationConfig) -> float:
    """The median of the doses that calibrations have found; of those that are tried, where none was found yet."""
    return median([each.dose for each in found] or [median(config.doses)])


def default_calibration(
    feature: Candidate, dose: float, median_norm: float, config: CalibrationConfig, unsteered: float | None = None
) -> Calibration:
    """The calibration of a feature that was never steered.

    Args:
        feature: The feature.
        dose: The usual dose.
        median_norm: Median ‖x‖ of the stream at the SAE's hook point.
        config: The doses that an edit would have to carry.
        unsteered: Share of unsteered answers that show the label, if that is known.
    """
    if not can_write(feature, median_norm, config):
        return Calibration(strength=None, dose=0.0, steerability=0.0, unsteered=unsteered, method="writes nothing")
    return Calibration(strength=coefficient(feature, dose, median_norm), dose=dose, unsteered=unsteered, method="dose")


def choose_finalists(candidates: Sequence[Candidate], trials: Trials, config: CalibrationConfig) -> list[Candidate]:
    return [
        finalist
        for rivals in group(candidates).values()
        for finalist in sorted(rivals, key=lambda c: -best_merit(c, trials))[: config.finalists]
    ]


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


def trial(candidate: Candidate, dose: float, trials: Trials, median_norm: float) -> Trial:
    tally = trials[candidate.latent, dose]
    strength = coefficient(candidate, dose, median_norm)
    return Trial(strength=strength, dose=dose, success=tally.success, coherence=tally.coherence)
