"""The tables. ``migrations`` creates them; a test keeps the two equal.

A column has the meaning and unit of the field of the same name in ``featurehub.records``, ``features`` or ``verdicts``.
"""

from featurehub.store.schema.artifacts import AliasRecord, ArtifactRecord, EvaluationRecord
from featurehub.store.schema.base import OWNER_CHARS, Base
from featurehub.store.schema.embeddings import EmbedderRecord, EmbeddingRecord
from featurehub.store.schema.features import (
    ClusterRecord,
    FeatureRecord,
    LabelRecord,
    MapRecord,
    NameRecord,
    TextRecord,
    WordRecord,
)
from featurehub.store.schema.groups import GroupRecord, MemberRecord
from featurehub.store.schema.refreshes import FateRecord, FormerNameRecord, RefreshRecord
from featurehub.store.schema.reports import ReportRecord, VerdictRecord
from featurehub.store.schema.variants import VariantRecord, VersionRecord

__all__ = [
    "OWNER_CHARS",
    "AliasRecord",
    "ArtifactRecord",
    "Base",
    "ClusterRecord",
    "EmbedderRecord",
    "EmbeddingRecord",
    "EvaluationRecord",
    "FateRecord",
    "FeatureRecord",
    "FormerNameRecord",
    "GroupRecord",
    "LabelRecord",
    "MapRecord",
    "MemberRecord",
    "NameRecord",
    "RefreshRecord",
    "ReportRecord",
    "TextRecord",
    "VariantRecord",
    "VerdictRecord",
    "VersionRecord",
    "WordRecord",
]
