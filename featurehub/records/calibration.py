"""What weight 1.0 stands for."""

from pydantic import Field

from featurehub.settings import Frozen

__all__ = ["Calibration", "Trial"]


class Trial(Frozen):
    """What steering with one strength achieved.

    Attributes:
        strength: Raw nudge coefficient of the latent's steering vector.
        dose: ‖Δ‖/‖h‖ at that strength.
        success: Share of steered answers that showed the label, in [0, 1].
        coherence: Share of these answers that stayed coherent, in [0, 1].
    """

    strength: float
    dose: float
    success: float
    coherence: float


class Calibration(Frozen):
    """The raw coefficient that weight 1.0 stands for, and how it was found.

    Attributes:
        strength: Chosen raw coefficient of the steering vector; None for a row of zeros, which writes nothing.
        dose: Median ‖Δ‖/‖h‖ at that strength.
        steerability: Share of steered answers that showed the label, minus ``unsteered``, in [-1, 1]. Measured on
            answers that the strength was not chosen by; None where nothing was steered.
        unsteered: Share of unsteered answers that show the label.
        coherence: Share of coherent answers among those that steerability was measured on.
        answers: How many answers steerability was measured on; 0 where nothing was steered.
        curve: Every strength that was tried, measured on the answers that one was chosen by.
        output_score: How much the probability of the label's words rises when the feature is nudged
            (``labeling.output_score``); None where that was not computed.
        expected_steerability: The steerability that features with such an output score had, in [0, 1]; None where too
            few were steered to tell, and where it was measured.
        method: How it was found: "steered"; "dose" where it is only the usual dose, with which nobody tried to steer;
            "writes nothing" for a row of zeros.
    """

    strength: float | None
    dose: float
    steerability: float | None = Field(default=None, ge=-1.0, le=1.0)
    unsteered: float | None = None
    coherence: float | None = None
    answers: int = Field(default=0, ge=0)
    curve: tuple[Trial, ...] = ()
    output_score: float | None = None
    expected_steerability: float | None = Field(default=None, ge=0.0, le=1.0)
    method: str = ""
