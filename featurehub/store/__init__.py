"""The feature database: artifacts, features, labels, names, evaluations, drift verdicts.

Owns the schema, its migrations and every query, in one SQLite file or in a database on a PostgreSQL server. Reading and
writing are different types, so that a function's signature says what it may do:

    store = open_store("features.db")
    with store.write() as writer:          # one transaction; an error rolls it back
        writer.put_artifact(manifest, folder)
        writer.put_features(manifest.id, rows)
    with store.read() as reader:           # one consistent snapshot
        feature = reader.resolve("banking")

May import errors, settings, features, records, verdicts and artifacts; never torch, vllm or a spoke. Start with
``featurehub.records`` (what goes in and comes out), then ``reader`` and ``writer``. ``lookup`` says how a name finds
its feature, ``search`` how results are ranked, ``embeddings`` what is stored of what features mean, ``database`` in
what the two kinds of database differ.
"""

from featurehub.records import (
    Calibration,
    Cluster,
    CoActive,
    Context,
    Evaluation,
    FeatureDetails,
    FeatureMap,
    FeatureRow,
    Histogram,
    Label,
    Labeled,
    LabelVersion,
    Outcome,
    PastReport,
    PastVerdict,
    Provenance,
    RegisteredArtifact,
    ReportHead,
    Scope,
    SearchFilter,
    SearchPage,
    TokenLogit,
    Trial,
    Unlabeled,
)
from featurehub.store.copying import copy_store, count_rows
from featurehub.store.embeddings import EmbeddedBy, EmbeddingKind, Unembedded
from featurehub.store.feature_set import FeatureSet
from featurehub.store.near import QueryVector
from featurehub.store.new_features import NewFeatures
from featurehub.store.reader import Reader
from featurehub.store.saving import KEPT, put_named, save_feature_set, save_or_keep
from featurehub.store.statistics import PreparedRows
from featurehub.store.store import Store, check_writable, has_store, open_store
from featurehub.store.writer import Writer

__all__ = [
    "KEPT",
    "Calibration",
    "Cluster",
    "CoActive",
    "Context",
    "EmbeddedBy",
    "EmbeddingKind",
    "Evaluation",
    "FeatureDetails",
    "FeatureMap",
    "FeatureRow",
    "FeatureSet",
    "Histogram",
    "Label",
    "LabelVersion",
    "Labeled",
    "NewFeatures",
    "Outcome",
    "PastReport",
    "PastVerdict",
    "PreparedRows",
    "Provenance",
    "QueryVector",
    "Reader",
    "RegisteredArtifact",
    "ReportHead",
    "Scope",
    "SearchFilter",
    "SearchPage",
    "Store",
    "TokenLogit",
    "Trial",
    "Unembedded",
    "Unlabeled",
    "Writer",
    "check_writable",
    "copy_store",
    "count_rows",
    "has_store",
    "open_store",
    "put_named",
    "save_feature_set",
    "save_or_keep",
]
