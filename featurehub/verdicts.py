"""What a drift check found: a verdict per feature and per artifact, each with the evidence that decided it."""

from collections.abc import Iterable

from featurehub.features import State
from featurehub.settings import Frozen

__all__ = ["DriftReport", "FeatureVerdict", "Statistic", "state_of", "worst"]

_SEVERITY = (State.FRESH, State.UNCHECKED, State.SUSPECT, State.STALE)


def worst(states: Iterable[State]) -> State:
    """The most severe of the states; fresh where there is none."""
    return max(states, key=_SEVERITY.index, default=State.FRESH)


def state_of(reads: State, steers: State) -> State:
    """The worse of a feature's two halves; an unchecked one does not make the other worse, and two are unchecked."""
    checked = [state for state in (reads, steers) if state is not State.UNCHECKED]
    return worst(checked) if checked else State.UNCHECKED


class Statistic(Frozen):
    """One statistic against its threshold.

    n: how many observations it rests on
    """

    statistic: str
    value: float
    threshold: float
    n: int


class FeatureVerdict(Frozen):
    """Whether one latent still reads and still steers as its label says.

    reason: the rule that decided, in words
    """

    latent: int
    label: str
    reads: State
    steers: State
    reason: str
    evidence: tuple[Statistic, ...] = ()

    @property
    def state(self) -> State:
        return state_of(self.reads, self.steers)


class DriftReport(Frozen):
    """The verdicts of one check of one artifact on one model.

    fingerprint: of the function that was checked (``ModelIdentity.function``)
    metrics:     of the artifact as a whole, old and new
    """

    id: str
    artifact: str
    model: str
    fingerprint: str
    created: str
    state: State
    reason: str
    metrics: dict[str, float]
    features: tuple[FeatureVerdict, ...] = ()

    @property
    def exit_code(self) -> int:
        """0 fresh, 3 suspect or unchecked, 4 stale: a pipeline gates on it."""
        return {State.FRESH: 0, State.STALE: 4}.get(self.state, 3)
