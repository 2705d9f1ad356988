"""Finds the strengths of registered features, as many as there is time for.

1. The unsteered model answers; its answers are kept beside the SAE for the next time.
2. The output scores of all labelled features are computed, in a share of the time: they cost a few hundred tokens each,
   which are only read. They say which features are the most promising.
3. Rounds of a few names follow, the most promising first, as long as there is time for another. Each is written to the
   database when it is done.
4. At the end every feature that was never steered gets the median of the doses found and the steerability that its
   output score lets one expect, and of features that share a name the one that steers best takes it.
"""

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from scipy.stats import rankdata

from featurehub.records import Calibration
from featurehub.runs.basis import CalibrationBasis, digest_of, keep_unsteered, kept_unsteered
from featurehub.runs.phases import duration
from featurehub.runs.progress import Progress, Work
from featurehub.runs.register import merits
from featurehub.runs.registered import RegisteredFeatures
from labeling.calibration import CalibrationConfig, can_write, group, rounds, tokens_of
from labeling.label import rename
from labeling.output_score import OutputScores, expected_steerability
from labeling.strength import Calibrator, Candidate, default_calibration, usual_dose

__all__ = ["StrengthSearch", "affordable"]

UNSTEERED_SHARE, FEWEST_UNSTEERED = 0.25, 12
"""Largest share of the time in which the model answers unsteered, and the fewest such answers to either half."""
SCORING_SHARE, SCORED_AT_ONCE = 0.2, 32
"""Largest share of the time left in which output scores are computed, and how many features are read at once."""
MEASURED_AT_ONCE = 16
"""Features that are measured again before what was found is written."""
ROUND = 60.0
"""Seconds that a round should take at most: what it finds is written only at its end."""
TRIED_NAMES = 2
"""Names of the first round, if nothing is known of the speed yet."""


def affordable(config: CalibrationConfig, seconds: float, speed: float | None) -> CalibrationConfig:
    """The configuration with no more unsteered answers than so many seconds have room for.

    Args:
        config: How many answers are given if there is time enough.
        seconds: The time of the whole calibration.
        speed: Tokens of answers per second, if that is known.
    """
    if speed is None or seconds == math.inf:
        return config
    room = int(UNSTEERED_SHARE * max(0.0, seconds) * speed / (2 * config.sampling.max_tokens))
    return config.model_copy(update={"unsteered": min(config.unsteered, max(FEWEST_UNSTEERED, room))})


class StrengthSearch:
    """One search for strengths.

    Attributes:
        registered: The features.
        calibrator: Finds strengths.
        until: When it should be done, in seconds of ``time.monotonic``.
        speed: Tokens of answers per second; None as long as that is not known.
        found: The calibrations that it found, by latent.
        scores: The output scores that are known, by latent.
    """

    def __init__(
        self, registered: RegisteredFeatures, calibrator: Calibrator, until: float, speed: float | None = None
    ) -> None:
        self.registered, self.calibrator = registered, calibrator
        self.until, self.speed = until, speed
        self.found: dict[int, Calibration] = {}
        known = ((latent, each.output_score) for latent, each in registered.calibrations.items())
        self.scores = {latent: score for latent, score in known if score is not None}

    @property
    def left(self) -> float:
        """Seconds that are left."""
        return max(0.0, self.until - time.monotonic())

    @property
    def room(self) -> float:
        """How many tokens of answers there is time for."""
        return self.left * (self.speed or math.inf) if self.left else 0.0

    def listen(self, folder: Path, basis: CalibrationBasis, progress: Progress) -> None:
        """Step 1.

        Args:
            folder: The SAE's folder.
            basis: What strengths are found with.
            progress: Receives progress reports.
        """
        calibrator = self.calibrator
        key = digest_of(basis.prompts, calibrator.config.sampling)
        calibrator.unsteered = kept_unsteered(folder, key) or calibrator.unsteered
        if not calibrator.unheard:
            return
        with progress.work("answering unsteered", calibrator.unheard, "tokens") as work, self.timed(work, 0):
            calibrator.listen()
        keep_unsteered(folder, key, calibrator.unsteered)

    def score(self, output_scores: OutputScores | None, progress: Progress) -> None:
        """Step 2, the best labels first; those that are known are not computed again.

        Args:
            output_scores: Computes them; None where that is not possible.
            progress: Receives progress reports.
        """
        config, norm = self.calibrator.config, self.calibrator.bench.median_norm
        able = (each for each in self.registered.candidates if can_write(each, norm, config))
        waiting = sorted((each for each in able if each.latent not in self.scores), key=lambda c: -c.label_score)
        if output_scores is None or not waiting:
            return
        until = time.monotonic() + SCORING_SHARE * self.left
        with progress.work("computing output scores", len(waiting), "features") as work:
            while waiting and time.monotonic() < until:
                some, waiting = waiting[:SCORED_AT_ONCE], waiting[SCORED_AT_ONCE:]
                found = output_scores.of(some)
                self.scores |= found
                self.registered.write({latent: self.scored(latent, self.known(latent)) for latent in found})
                work(len(some))

    def known(self, latent: int) -> Calibration:
        """The calibration that the database has of a labelled feature."""
        return self.registered.calibrations[latent]

    def scored(self, latent: int, calibration: Calibration) -> Calibration:
        """A latent's calibration with its output score."""
        return calibration.model_copy(update={"output_score": self.scores.get(latent)})

    def candidates(self, features: Sequence[Candidate]) -> list[Candidate]:
        """Those of the features that are tried, the most promising first."""
        ranks = rankdata(list(self.scores.values()), "max")
        eases = {latent: float(rank) / len(ranks) for latent, rank in zip(self.scores, ranks, strict=True)}
        hardest = min(eases.values(), default=1.0)
        return self.calibrator.candidates([each._replace(ease=eases.get(each.latent, hardest)) for each in features])

    def run(self, candidates: Sequence[Candidate], progress: Progress) -> list[Candidate]:
        """Step 3.

        Args:
            candidates: The features to try, in their order.
            progress: Receives progress reports.

        Returns:
            Those that there was no time for.
        """
        config, waiting, passed = self.calibrator.config, list(candidates), 0
        planned = tokens_of(candidates, config)
        progress.say(self.estimate(len(group(candidates)), planned))
        with progress.work("calibrating", max(1, int(min(planned, self.room))), "tokens") as work:
            while waiting and (chosen := self.next_round(waiting)):
                with self.timed(work, passed):
                    found = self.calibrator.round(chosen)
                found = {latent: self.scored(latent, each) for latent, each in found.items()}
                self.registered.write(found)
                self.found |= found
                waiting = [each for each in waiting if each.latent not in found]
                passed += tokens_of(chosen, config)
                work.say(f"{len(self.found)} features")
        return waiting

    def again(self, doses: Mapping[Candidate, float], progress: Progress) -> list[Candidate]:
        """Measures features at doses that were found for them on another model, as long as there is time.

        Args:
            doses: The dose of each.
            progress: Receives progress reports.

        Returns:
            Those that there was no time for.
        """
        waiting, tokens = list(doses), self.calibrator.config.confirm * self.calibrator.config.sampling.max_tokens
        with progress.work("measuring strengths again", len(waiting) * tokens, "tokens") as work:
            while waiting and self.room >= tokens:
                some, waiting = waiting[:MEASURED_AT_ONCE], waiting[MEASURED_AT_ONCE:]
                with self.timed(work, (len(doses) - len(waiting) - len(some)) * tokens):
                    found = self.calibrator.again({each: doses[each] for each in some})
                self.registered.write({latent: self.scored(latent, each) for latent, each in found.items()})
                self.found |= found
        return waiting

    def estimate(self, names: int, planned: int) -> str:
        """What trying so many names will take, in words."""
        spoken = f"{names} names to calibrate: {planned:,} tokens of answers at most"
        if self.speed:
            spoken += f", about {duration(planned / self.speed)} at {self.speed:,.0f} tokens/s"
        return spoken if self.until == math.inf else f"{spoken}; {duration(self.left)} are left for it"

    def next_round(self, waiting: Sequence[Candidate]) -> list[Candidate]:
        """The candidates of the next round, as many as there is time for; none if there is time for none."""
        config, room = self.calibrator.config, self.room
        if self.speed is None:
            config = config.model_copy(update={"names_per_round": TRIED_NAMES})
        first = next(rounds(waiting, config, min(room, ROUND * (self.speed or math.inf))))
        return first if tokens_of(first, config) <= room else []

    @contextmanager
    def timed(self, work: Work, passed: int) -> Iterator[None]:
        """Measures the speed of the answers in the block, and shows them as work after ``passed`` tokens."""
        bench, started = self.calibrator.bench, time.monotonic()
        before = bench.tokens
        bench.progress = lambda tokens: work.at(passed + tokens - before)
        yield
        self.speed = max(1, bench.tokens - before) / max(time.monotonic() - started, 1e-6)

    def conclude(self, rename_too: bool) -> None:
        """Step 4.

        Args:
            rename_too: Whether names go to the features that steer best.
        """
        calibrator, measured = self.calibrator, self.registered.measured | self.found
        config, norm, heard = calibrator.config, calibrator.bench.median_norm, calibrator.unsteered.confirming
        steered = {latent: each for latent, each in measured.items() if each.method == "steered"}
        usual = usual_dose(steered.values(), config)
        expected = expected_steerability(self.scores, {at: each.steerability or 0.0 for at, each in steered.items()})
        rest: dict[int, Calibration] = {}
        for f in (each for each in self.registered.candidates if each.latent not in measured):
            never = self.scored(f.latent, default_calibration(f, usual, norm, config, calibrator.share(f, heard)))
            rest[f.latent] = never.model_copy(update={"expected_steerability": expected.get(f.latent)})
        labels = self.registered.labels
        renamed = rename(labels, merits(labels, measured)) if rename_too else labels
        self.registered.write(rest, [new for new, old in zip(renamed, labels, strict=True) if new != old])
