"""What a drift check found: a verdict for each feature and each artifact, with the evidence that decided it."""

from collections.abc import Iterable
from typing import Any

from pydantic import computed_field, model_validator

from featurehub.features import State
from featurehub.settings import Frozen

__all__ = ["DriftReport", "FeatureVerdict", "Statistic", "state_of", "worst"]

_SEVERITY = (State.FRESH, State.UNCHECKED, State.SUSPECT, State.STALE)


def worst(states: Iterable[State]) -> State:
    """The most severe of the states, in the order fresh, unchecked, suspect, stale; fresh where there are none."""
    return max(states, key=_SEVERITY.index, default=State.FRESH)


def state_of(reads: State, steers: State) -> State:
    """The worse of a feature's two halves.

    Args:
        reads: Whether the feature still fires where its label says.
        steers: Whether steering it still has the effect that its label names.

    Returns:
        The worse of the two. An unchecked half does not make the other worse; unchecked where both are.
    """
    checked = [state for state in (reads, steers) if state is not State.UNCHECKED]
    return worst(checked) if checked else State.UNCHECKED


class Statistic(Frozen):
    """One statistic and its threshold.

    Attributes:
        statistic: Its name.
        value: What was measured.
        threshold: What it was compared with.
        n: Number of observations that it rests on.
    """

    statistic: str
    value: float
    threshold: float
    n: int


class FeatureVerdict(Frozen):
    """Whether one latent still reads and still steers as its label says.

    Attributes:
        latent: Index in the artifact's SAE.
        label: The label that was checked.
        reads: Whether the feature still fires where its label says.
        steers: Whether steering it still has the effect that its label names.
        reason: The rule that decided, in words.
        evidence: The statistics behind it.
    """

    latent: int
    label: str
    reads: State
    steers: State
    reason: str
    evidence: tuple[Statistic, ...] = ()

    @computed_field
    @property
    def state(self) -> State:
        """The worse of ``reads`` and ``steers``: see ``state_of``."""
        return state_of(self.reads, self.steers)

    @model_validator(mode="before")
    @classmethod
    def _state_follows(cls, given: Any) -> Any:
        """JSON has the state for those who read it; here it follows from the two halves alone."""
        return {name: each for name, each in given.items() if name != "state"} if isinstance(given, dict) else given


class DriftReport(Frozen):
    """The verdicts of one check of one artifact on one model.

    Attributes:
        id: The report's id.
        artifact: Id of the artifact that was checked.
        model: Name of the model that it was checked on.
        fingerprint: Hash of the function that the model computes (``ModelIdentity.function``).
        created: Time of the check, ISO 8601 in UTC.
        state: State of the artifact as a whole.
        reason: The rule that decided it, in words.
        metrics: Measurements of the artifact as a whole, on the old and the new model, by name.
        weights: Identity of the weights as they lay on the device when it was checked; "" where nothing was run.
        features: One verdict per checked feature; none where the artifact's state speaks for every feature.
    """

    id: str
    artifact: str
    model: str
    fingerprint: str
    created: str
    state: State
    reason: str
    metrics: dict[str, float]
    weights: str = ""
    features: tuple[FeatureVerdict, ...] = ()

    @property
    def exit_code(self) -> int:
        """Exit status for a pipeline to act on: 0 for fresh, 3 for suspect or unchecked, 4 for stale."""
        return {State.FRESH: 0, State.STALE: 4}.get(self.state, 3)
