"""A drift report that found two features stale."""

from collections.abc import Mapping

from featurehub.features import State
from featurehub.verdicts import DriftReport, FeatureVerdict

__all__ = ["drift_report"]


def drift_report(
    artifact: str, fingerprint: str, states: Mapping[int, State], labels: Mapping[int, str]
) -> DriftReport:
    """The report on an artifact, with what its features read and steer by latent."""
    verdicts = tuple(
        FeatureVerdict(latent=latent, label=labels[latent], reads=state, steers=state, reason="measured")
        for latent, state in states.items()
    )
    return DriftReport(
        id="drift-1", artifact=artifact, model="sibling", fingerprint=fingerprint, created="2026-01-02T00:00:00+00:00",
        state=State.SUSPECT, reason="two features are stale", metrics={"explained_variance": 0.94}, features=verdicts,
    )  # fmt: skip
