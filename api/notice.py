"""What an answer warns of."""

from featurehub.features import Edit, Feature
from featurehub.settings import Frozen

__all__ = ["Notice", "never_calibrated"]


class Notice(Frozen):
    """Something that the client should know although the request was answered.

    Attributes:
        code: What it is about, for programs: "feature_stale", "sae_unchecked", "nothing_steered" and the like.
        message: The same in a sentence, for people.
        feature: Id of the feature that it is about; None where it is about no single feature.
    """

    code: str
    message: str
    feature: str | None = None


def never_calibrated(name: str, edit: Edit, feature: Feature) -> Notice:
    """The warning that nobody knows how a feature steers at the weight of an edit."""
    message = (
        f"{name!r} was never calibrated: weight {edit.weight or 0.0:g} is a share of the model's usual dose, with "
        "which nobody has steered it yet; `featurehub calibrate SAE MODEL --feature NAME` finds its own"
    )
    return Notice(code="feature_uncalibrated", message=message, feature=feature.id)
