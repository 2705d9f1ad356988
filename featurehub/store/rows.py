"""From rows of the tables to values."""

from collections.abc import Iterable, Mapping, Sequence

from sqlalchemy import ColumnElement, select, true
from sqlalchemy.orm import InstrumentedAttribute, Session

from featurehub.artifacts.manifest import Manifest
from featurehub.features import Feature
from featurehub.records import (
    Artifact,
    Calibration,
    Context,
    FeatureDetails,
    Labeled,
    LabelVersion,
    Outcome,
    Provenance,
    TokenLogit,
    Unlabeled,
)
from featurehub.store.names import fold
from featurehub.store.schema import AliasRecord, ArtifactRecord, FeatureRecord, LabelRecord, NameRecord

__all__ = ["artifact_of", "artifacts_of", "batches", "details_of", "in_artifact", "label_of", "load_features"]

COLUMNS = (
    FeatureRecord.id,
    FeatureRecord.label,
    FeatureRecord.label_version,
    FeatureRecord.slug,
    FeatureRecord.artifact_id.label("artifact"),
    FeatureRecord.latent,
    FeatureRecord.density,
    FeatureRecord.max_activation,
    FeatureRecord.label_score,
    FeatureRecord.strength,
    FeatureRecord.steerability,
)
# Below SQLite's oldest bound on the number of parameters.
BATCH = 900


def batches(ids: Iterable[str]) -> Iterable[Sequence[str]]:
    """The ids in runs that fit into one statement."""
    every = list(ids)
    return (every[start : start + BATCH] for start in range(0, len(every), BATCH))


def in_artifact(feature_id: InstrumentedAttribute[str], artifact: str | None) -> ColumnElement[bool]:
    """Whether a feature belongs to this artifact (by id); always, where it is None."""
    if artifact is None:
        return true()
    return feature_id.in_(select(FeatureRecord.id).where(FeatureRecord.artifact_id == artifact))


def load_features(session: Session, ids: Sequence[str]) -> list[Feature]:
    """The features with these ids, in this order; unknown ids are left out."""
    found: dict[str, Feature] = {}
    for batch in batches(ids):
        names = session.execute(
            select(NameRecord.feature_id, NameRecord.name)
            .where(NameRecord.feature_id.in_(batch))
            .order_by(NameRecord.id)
        )
        aliases: dict[str, list[str]] = {}
        for feature_id, name in names:
            aliases.setdefault(feature_id, []).append(name)
        for row in session.execute(select(*COLUMNS).where(FeatureRecord.id.in_(batch))):
            found[row.id] = _feature(row._mapping, aliases.get(row.id, ()))
    return [found[each] for each in ids if each in found]


def _feature(row: Mapping, names: Iterable[str]) -> Feature:
    label = fold(row["label"])
    return Feature(**row, aliases=tuple(name for name in names if fold(name) != label))


def artifacts_of(session: Session, records: Iterable[ArtifactRecord]) -> list[Artifact]:
    aliases: dict[str, list[str]] = {}
    for owner, name in session.execute(select(AliasRecord.artifact_id, AliasRecord.name).order_by(AliasRecord.name)):
        aliases.setdefault(owner, []).append(name)
    return [_artifact(record, aliases.get(record.id, ())) for record in records]


def artifact_of(session: Session, record: ArtifactRecord) -> Artifact:
    return artifacts_of(session, [record])[0]


def _artifact(record: ArtifactRecord, aliases: Iterable[str]) -> Artifact:
    return Artifact(
        id=record.id,
        name=record.name,
        manifest=Manifest.model_validate(record.manifest, strict=False),
        path=record.path,
        created=record.created,
        is_default=record.is_default,
        aliases=tuple(aliases),
    )


def label_of(record: LabelRecord) -> LabelVersion:
    outcome: Outcome
    if record.label is None:
        outcome = Unlabeled(reason=record.reason or "")
    else:
        outcome = Labeled(label=record.label, score=record.score, scores=record.scores)
    provenance = Provenance(
        author=record.author, method=record.method, model=record.model, prompt=record.prompt, answer=record.answer
    )
    return LabelVersion(version=record.version, outcome=outcome, provenance=provenance, created=record.created)


def details_of(record: FeatureRecord, feature: Feature) -> FeatureDetails:
    return FeatureDetails(
        feature=feature,
        quantiles=record.quantiles,
        contexts=tuple(Context(**each) for each in record.contexts),
        top_tokens=tuple(TokenLogit(**each) for each in record.top_tokens),
        bottom_tokens=tuple(TokenLogit(**each) for each in record.bottom_tokens),
        neighbors=tuple(record.neighbors),
        calibration=None if record.calibration is None else Calibration.model_validate(record.calibration),
        labels=tuple(label_of(each) for each in record.labels),
    )
