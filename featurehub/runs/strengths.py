"""Finds the strengths of registered features, as many as there is time for.

1. The unsteered model answers; its answers are kept beside the SAE for the next time.
2. Rounds of a few names follow, the most promising first, as long as there is time for another. Each is written to the
   database when it is done.
3. At the end every feature that was never steered gets the median of the doses found, and of features that share a name
   the one that steers best takes it.
"""

import math
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from featurehub.records import Calibration
from featurehub.runs.basis import CalibrationBasis, digest_of, keep_unsteered, kept_unsteered
from featurehub.runs.phases import duration
from featurehub.runs.progress import Progress, Work
from featurehub.runs.register import merits
from featurehub.runs.registered import RegisteredFeatures
from labeling.calibration import CalibrationConfig, group, rounds, tokens_of
from labeling.label import rename
from labeling.strength import Calibrator, Candidate, default_calibration, usual_dose

__all__ = ["StrengthSearch", "affordable"]

UNSTEERED_SHARE, FEWEST_UNSTEERED = 0.25, 12
"""Largest share of the time in which the model answers unsteered, and the fewest such answers to either half."""
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
    """

    def __init__(
        self, registered: RegisteredFeatures, calibrator: Calibrator, until: float, speed: float | None = None
    ) -> None:
        self.registered, self.calibrator = registered, calibrator
        self.until, self.speed = until, speed
        self.found: dict[int, Calibration] = {}

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

    def run(self, candidates: Sequence[Candidate], progress: Progress) -> list[Candidate]:
        """Step 2.

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
                self.registered.write(found)
                self.found |= found
                waiting = [each for each in waiting if each.latent not in found]
                passed += tokens_of(chosen, config)
                work.say(f"{len(self.found)} features")
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
        """Step 3.

        Args:
            rename_too: Whether names go to the features that steer best.
        """
        calibrator, measured = self.calibrator, self.registered.measured | self.found
        config, norm, heard = calibrator.config, calibrator.bench.median_norm, calibrator.unsteered.confirming
        usual = usual_dose([each for each in measured.values() if each.method == "steered"], config)
        rest = {
            f.latent: default_calibration(f, usual, norm, config, calibrator.share(f, heard))
            for f in self.registered.candidates
            if f.latent not in measured
        }
        labels = self.registered.labels
        renamed = rename(labels, merits(labels, measured)) if rename_too else labels
        self.registered.write(rest, [new for new, old in zip(renamed, labels, strict=True) if new != old])
