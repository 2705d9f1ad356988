"""What a feature's page shows, what a search asks, and a page of what it finds."""

from pydantic import Field

from featurehub.features import Feature, State
from featurehub.records.calibration import Calibration
from featurehub.records.clusters import Cluster
from featurehub.records.labels import LabelVersion
from featurehub.records.statistics import CoActive, Context, Histogram, TokenLogit
from featurehub.settings import Frozen

__all__ = ["FeatureDetails", "PastVerdict", "SearchFilter", "SearchPage"]


class PastVerdict(Frozen):
    """What one drift report found of a feature.

    Attributes:
        report: The report's id.
        model: Name of the model that was checked.
        created: Time of the check, ISO 8601 in UTC.
        state: The feature's state by this report.
        reads: Whether it still fires where its label says; None where the report speaks for all features at once.
        steers: Whether steering it still has the effect that its label names; None likewise.
        reason: The rule that decided, in words.
    """

    report: str
    model: str
    created: str
    state: State
    reads: State | None
    steers: State | None
    reason: str


class FeatureDetails(Frozen):
    """Everything that a feature's page shows.

    Attributes:
        feature: The feature itself.
        quantiles: Quantiles of its positive activations: {"0.5": …}.
        contexts: Stretches of text on which it fired, strongest first.
        top_tokens: Tokens that its decoder row promotes most.
        bottom_tokens: Tokens that its decoder row suppresses most.
        neighbors: Latents with the most similar decoder rows, most similar first.
        calibration: What weight 1.0 stands for; None where it was never calibrated.
        labels: The versions of its label, oldest first; of very many, the newest.
        histogram: Its positive activations; None where they are not known.
        coactive: Latents that fire on the same tokens, those that do so most first.
        cluster: The cluster that it belongs to; None where it belongs to none.
        others: Labels of the features in ``neighbors``, ``coactive`` and ``cluster``, by latent; "" for one without.
        drift: What drift reports found of it, newest first; of very many, the newest.
    """

    feature: Feature
    quantiles: dict[str, float]
    contexts: tuple[Context, ...]
    top_tokens: tuple[TokenLogit, ...]
    bottom_tokens: tuple[TokenLogit, ...]
    neighbors: tuple[int, ...]
    calibration: Calibration | None
    labels: tuple[LabelVersion, ...]
    histogram: Histogram | None
    coactive: tuple[CoActive, ...]
    cluster: Cluster | None
    others: dict[int, str]
    drift: tuple[PastVerdict, ...]


class SearchFilter(Frozen):
    """Which features a search may show.

    Attributes:
        layers: Layers of the model in which their SAEs lie; none for all.
        min_density: Smallest share of tokens on which they fire.
        max_density: Largest such share.
        min_score: Smallest label score; leaves out labels that were not scored. None for all.
        steerable: Only those that were steered and then showed their label more often than before.
        states: How they stand on the loaded model; none for all.
    """

    layers: frozenset[int] = frozenset()
    min_density: float = Field(default=0.0, ge=0.0, le=1.0)
    max_density: float = Field(default=1.0, ge=0.0, le=1.0)
    min_score: float | None = Field(default=None, ge=0.0, le=1.0)
    steerable: bool = False
    states: frozenset[State] = frozenset()

    @property
    def bounds_features(self) -> bool:
        """Whether it leaves out features by what their rows hold."""
        plain = {"layers": self.layers, "states": self.states}
        return self != SearchFilter(**plain)


class SearchPage(Frozen):
    """One page of search results.

    Attributes:
        features: Best first.
        next: The ``after`` of the page that follows; None on the last page.
        by_meaning: Whether vectors were searched too, and not only words.
    """

    features: tuple[Feature, ...]
    next: str | None
    by_meaning: bool = False
