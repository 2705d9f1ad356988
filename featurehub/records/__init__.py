"""The values that go into the feature database and come out of it."""

from featurehub.records.artifacts import Evaluation, PastReport, RegisteredArtifact, ReportHead, Scope
from featurehub.records.calibration import Calibration, Trial
from featurehub.records.clusters import Cluster
from featurehub.records.groups import ResolvedGroup
from featurehub.records.labels import Label, Labeled, LabelVersion, Outcome, Provenance, Unlabeled
from featurehub.records.maps import FeatureMap
from featurehub.records.pages import FeatureDetails, PastVerdict, SearchFilter, SearchPage
from featurehub.records.statistics import CoActive, Context, FeatureRow, Histogram, TokenLogit

__all__ = [
    "Calibration",
    "Cluster",
    "CoActive",
    "Context",
    "Evaluation",
    "FeatureDetails",
    "FeatureMap",
    "FeatureRow",
    "Histogram",
    "Label",
    "LabelVersion",
    "Labeled",
    "Outcome",
    "PastReport",
    "PastVerdict",
    "Provenance",
    "RegisteredArtifact",
    "ReportHead",
    "ResolvedGroup",
    "Scope",
    "SearchFilter",
    "SearchPage",
    "TokenLogit",
    "Trial",
    "Unlabeled",
]
