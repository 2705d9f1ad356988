"""What the phases of a run will take, told before they begin, and how a budget of time is divided between them.

1. Evaluation, baseline and labelling need what they need, by estimate. Where that is more than ``MOST`` of the budget,
   fewer documents are evaluated and fewer canaries kept.
2. Calibration gets ``SHARE`` of the budget, or less if it needs less; without a budget, as long as training.
3. Training gets the rest, as many tokens as there is time for.
"""

import math
import time
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import NamedTuple, Self

from pydantic import ValidationError

from featurehub.runs.baseline import BaselineConfig
from featurehub.runs.deadline import Deadline
from featurehub.runs.progress import Progress
from featurehub.runs.speeds import Speeds
from featurehub.settings import Frozen
from labeling.calibration import CalibrationConfig
from saes.documents import Document, count_tokens

__all__ = [
    "BASELINE",
    "EVALUATE",
    "LABEL",
    "Forecast",
    "Phase",
    "PhasePlan",
    "duration",
    "forecast_labelling",
    "forecast_of",
    "say_phases",
]

STARTS, EVALUATE, BASELINE, LABEL = "start engines", "evaluate", "keep a baseline", "label"
MOST = 0.25
"""Largest share of a budget of time that evaluation, baseline and labelling take."""
SHARE = 0.2
"""Share of a budget of time that calibration has."""
LABELLED = 4e5
"""Latents times thousand tokens that are labelled in a second, on a slow core."""
LEAST_DOCUMENTS, LEAST_CANARIES = 150, 3000
LEAST_CALIBRATION = 60.0
"""Seconds that calibration has at least where there is no budget of time."""
LAST = 0.05
"""Share of a budget of time that calibration has even if the time is over when it begins."""


class Phase(NamedTuple):
    """A phase of a run, before it begins.

    Attributes:
        name: What is done.
        amount: How much of it.
        unit: What is counted.
        seconds: How long that will take.
    """

    name: str
    amount: int
    unit: str
    seconds: float


class Forecast(Frozen):
    """What is known before training of the phases that follow it. A run that is resumed keeps to it.

    Attributes:
        speeds: Speeds of the engine.
        evaluate: Tokens per second of documents that SAEs are evaluated on.
        baseline: How the SAEs are evaluated.
    """

    speeds: Speeds
    evaluate: float
    baseline: BaselineConfig

    @classmethod
    def kept(cls, path: Path) -> Self | None:
        """What an earlier start of a run has kept; None for a first start, or where another version has kept it."""
        try:
            return cls.model_validate_json(path.read_text()) if path.is_file() else None
        except ValidationError:
            return None

    def phases(self, held_out: Sequence[Document], saes: int, labelled: int) -> list[Phase]:
        """The phases between training and calibration.

        Args:
            held_out: All held-out documents.
            saes: How many SAEs are evaluated.
            labelled: How many latents are labelled.
        """
        read = count_tokens(held_out[: self.baseline.documents])
        kept = min(read, self.baseline.canaries.max_tokens)
        prompts = kept * min(len(held_out), self.baseline.documents) // max(1, read)
        answered = prompts * self.baseline.check.sampling.max_tokens
        speeds = self.speeds
        phases = [
            Phase(STARTS, 2, "times", speeds.start),
            Phase(EVALUATE, saes * read, "tokens", saes * read / self.evaluate),
            Phase(
                BASELINE,
                saes * (kept + answered),
                "tokens",
                saes * ((2 * kept + answered) / speeds.read + answered / speeds.answer),
            ),
        ]
        if labelled:
            phases.append(Phase(LABEL, labelled, "latents", labelled * read / 1000 / LABELLED + read / 2e4))
        return phases


def forecast_of(
    speeds: Speeds,
    evaluate: float,
    baseline: BaselineConfig,
    held_out: Sequence[Document],
    saes: int,
    labelled: int,
    seconds: float,
) -> Forecast:
    """Step 1.

    Args:
        speeds: Speeds of the engine.
        evaluate: Tokens per second of documents that SAEs are evaluated on.
        baseline: How the SAEs would be evaluated with all the time there is.
        held_out: All held-out documents.
        saes: How many SAEs are evaluated.
        labelled: How many latents are labelled.
        seconds: The time of the whole run.
    """
    forecast = Forecast(speeds=speeds, evaluate=evaluate, baseline=baseline)
    start, *others = forecast.phases(held_out, saes, labelled)
    room = max(0.0, MOST * seconds - start.seconds)
    needed = sum(phase.seconds for phase in others)
    if needed <= room:
        return forecast
    share = room / needed
    documents = min(len(held_out), baseline.documents)
    fewer = {
        "documents": max(min(documents, LEAST_DOCUMENTS), int(share * documents)),
        "canaries": baseline.canaries.model_copy(
            update={"max_tokens": max(LEAST_CANARIES, int(share * baseline.canaries.max_tokens))}
        ),
    }
    return forecast.model_copy(update={"baseline": baseline.model_copy(update=fewer)})


class PhasePlan(NamedTuple):
    """What comes after training.

    Attributes:
        phases: The phases between training and calibration.
        deadline: When the whole run should be done.
        calibration: How strengths are calibrated; None if they are not.
        latents: Latents of the SAE.
        steered: Tokens per second of steered answers.
        patient: Whether calibration runs through all its rounds if there is no budget of time.
        forecast: What is known of the phases; kept with the run's unfinished work once the job is agreed.
    """

    phases: list[Phase]
    deadline: Deadline
    calibration: CalibrationConfig | None = None
    latents: int = 0
    steered: float = 1.0
    patient: bool = False
    forecast: Forecast | None = None

    def after(self, training: float) -> list[Phase]:
        """All phases after a training of so many seconds, calibration among them."""
        if self.calibration is None:
            return self.phases
        tokens, most = self.calibration.tokens_of_all(self.latents), self.calibrating(training)
        needed = tokens / self.steered
        answered = int(tokens * min(1.0, most / needed))
        return [*self.phases, Phase("calibrate", answered, "tokens", min(needed, most))]

    def calibrating(self, training: float) -> float:
        """Step 2: the most seconds of calibration."""
        if self.deadline.is_bound:
            return SHARE * self.deadline.seconds
        return math.inf if self.patient else max(LEAST_CALIBRATION, training)

    def calibrate_until(self, training: float) -> float:
        """When a calibration that begins now should end, in seconds of ``time.monotonic``."""
        now = time.monotonic()
        if self.deadline.is_bound:
            return max(self.deadline.until, now + LAST * self.deadline.seconds)
        return now + self.calibrating(training)


def forecast_labelling(
    speeds: Speeds,
    baseline: BaselineConfig,
    documents: Sequence[Document],
    latents: int,
    steps: Collection[str],
    calibration: CalibrationConfig,
    deadline: Deadline,
    progress: Progress,
) -> Forecast:
    """What labelling and calibrating an SAE that is there already will take, which is told.

    Args:
        speeds: Speeds of the engine.
        baseline: How the SAE would be evaluated with all the time there is.
        documents: What it is labelled on.
        latents: How many latents it has.
        steps: Names of the phases before calibration that the run has.
        calibration: How strengths are calibrated.
        deadline: When the run should be done.
        progress: Hears it.
    """
    forecast = forecast_of(speeds, speeds.read, baseline, documents, 1, latents, deadline.seconds)
    phases = [phase for phase in forecast.phases(documents, 1, latents) if phase.name in steps]
    ahead = PhasePlan(phases, deadline, calibration, latents, speeds.steered, patient=True)
    say_phases(ahead.after(0.0), deadline.seconds, progress)
    return forecast


def say_phases(phases: Sequence[Phase], seconds: float, progress: Progress) -> None:
    """Reports a table of phases.

    Args:
        phases: The phases, in their order.
        seconds: The budget; infinite if there is none.
        progress: Hears it.
    """
    for phase in phases:
        progress.say(f"{phase.name:<17} {phase.amount:>13,} {phase.unit:<8} about {duration(phase.seconds)}")
    whole = sum(phase.seconds for phase in phases)
    bound = f" of {duration(seconds)}" if seconds < float("inf") else ""
    progress.say(f"{'in all':<17} {'':>22} about {duration(whole)}{bound}")


def duration(seconds: float) -> str:
    """A number of seconds in the unit that reads best: ``40 s``, ``12 min``, ``3.5 h``."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
