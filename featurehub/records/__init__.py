"""The values that go into the feature database and come out of it."""

from featurehub.records.artifacts import Evaluation, RegisteredArtifact, ReportHead, Scope
from featurehub.records.calibration import Calibration, Trial
from featurehub.records.labels import Labeled, LabelVersion, Outcome, Provenance, Unlabeled
from featurehub.records.pages import FeatureDetails, SearchFilter, SearchPage
from featurehub.records.statistics import Context, FeatureRow, TokenLogit

__all__ = [
    "Calibration",
    "Context",
    "Evaluation",
    "FeatureDetails",
    "FeatureRow",
    "LabelVersion",
    "Labeled",
    "Outcome",
    "Provenance",
    "RegisteredArtifact",
    "ReportHead",
    "Scope",
    "SearchFilter",
    "SearchPage",
    "TokenLogit",
    "Trial",
    "Unlabeled",
]
