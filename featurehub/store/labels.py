"""Stores versions of labels. A failed attempt is a version with a reason, never a label."""

from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby

from pydantic_core import to_json
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from featurehub.errors import FeatureNotFound
from featurehub.records import Label, Labeled, LabelVersion, Outcome, Provenance
from featurehub.store.bulk import insert_rows, update_rows
from featurehub.store.embeddings import EmbeddingKind, forget_embeddings
from featurehub.store.naming import choose_slugs, give_names
from featurehub.store.rows import BATCH, batches, label_of, parts_in
from featurehub.store.schema import FeatureRecord, LabelRecord
from featurehub.store.sql import statement

__all__ = [
    "LABEL_COLUMNS",
    "count_features",
    "label_values",
    "load_attempts",
    "load_labels",
    "make_current",
    "owners_of",
    "save_labels",
]

LABEL_COLUMNS = (
    "feature_id", "version", "label", "name", "qualifier", "further", "reason", "score", "scores", "author", "method",
    "model", "prompt", "answer", "created",
)  # fmt: skip
OWNERS = statement("SELECT id, artifact_id FROM features WHERE id IN :ids", "ids")
NAME = ("label", "label_version", "label_score", "slug")


def save_labels(session: Session, labels: Mapping[str, tuple[Outcome, Provenance]], created: str) -> dict[str, int]:
    """Adds a version to each feature whose latest one differs.

    Args:
        session: A session that writes.
        labels: By the feature's id.
        created: Time of the attempt, ISO 8601 in UTC.

    Returns:
        Number of the latest version, by the feature's id.

    Raises:
        FeatureNotFound: No feature has one of the ids.
    """
    artifacts = owners_of(session, labels)
    latest = _latest(session, labels)
    new = {
        each: (_version(latest.get(each)) + 1, *labels[each])
        for each in labels
        if (known := latest.get(each)) is None or (known.outcome, known.provenance) != labels[each]
    }
    insert_rows(session, "labels", LABEL_COLUMNS, (label_values(each, *entry, created) for each, entry in new.items()))
    named = {each: (number, found) for each, (number, found, _) in new.items() if isinstance(found, Labeled)}
    make_current(session, named, artifacts)
    return {each: new[each][0] if each in new else _version(latest.get(each)) for each in labels}


def count_features(session: Session, artifact: str) -> tuple[int, int]:
    """How many features an artifact has, and how many of them have a label."""
    labelled = func.count().filter(FeatureRecord.label != "")
    features, named = session.execute(select(func.count(), labelled).where(FeatureRecord.artifact_id == artifact)).one()
    return features, named


def load_attempts(session: Session, artifact: str, method: str, model: str) -> Iterator[tuple[int, LabelVersion]]:
    """The latents of an artifact with their label versions of one method and model, as they are read."""
    query = (
        select(FeatureRecord.latent, LabelRecord)
        .join(LabelRecord, LabelRecord.feature_id == FeatureRecord.id)
        .where(FeatureRecord.artifact_id == artifact, LabelRecord.method == method, LabelRecord.model == model)
    )
    for latent, record in session.execute(query.execution_options(yield_per=BATCH)):
        yield latent, label_of(record)


def load_labels(session: Session, artifact: str) -> dict[int, Label]:
    """The current labels of an artifact's features that have one, by latent."""
    query = (
        select(FeatureRecord.latent, LabelRecord.name, LabelRecord.qualifier, LabelRecord.further)
        .join(LabelRecord, LabelRecord.feature_id == FeatureRecord.id)
        .where(FeatureRecord.artifact_id == artifact, LabelRecord.version == FeatureRecord.label_version)
        .order_by(FeatureRecord.latent)
    )
    return {row.latent: parts_in(row) for row in session.execute(query) if row.name is not None}


def _version(latest: LabelVersion | None) -> int:
    return 0 if latest is None else latest.version


def owners_of(session: Session, features: Iterable[str]) -> dict[str, str]:
    """The artifact of each feature.

    Args:
        session: A session that reads.
        features: Ids of features.

    Returns:
        Ids of artifacts, by the feature's id.

    Raises:
        FeatureNotFound: No feature has one of the ids.
    """
    found: dict[str, str] = {}
    asked = list(features)
    for batch in batches(asked):
        found |= {row.id: row.artifact_id for row in session.execute(OWNERS, {"ids": batch})}
    unknown = [each for each in asked if each not in found]
    if unknown:
        raise FeatureNotFound(f"there is no feature with the id {unknown[0]!r}")
    return found


def _latest(session: Session, labels: Mapping[str, object]) -> dict[str, LabelVersion]:
    newest = select(LabelRecord.feature_id, func.max(LabelRecord.version).label("version")).group_by(
        LabelRecord.feature_id
    )
    found: dict[str, LabelVersion] = {}
    for batch in batches(labels):
        of_batch = newest.where(LabelRecord.feature_id.in_(batch)).subquery()
        query = select(LabelRecord).join(
            of_batch,
            (LabelRecord.feature_id == of_batch.c.feature_id) & (LabelRecord.version == of_batch.c.version),
        )
        found |= {record.feature_id: label_of(record) for record in session.scalars(query)}
    return found


def label_values(
    feature: str, version: int, outcome: Outcome, provenance: Provenance, created: str
) -> tuple[str | int | float | None, ...]:
    """Values of ``LABEL_COLUMNS``."""
    named = isinstance(outcome, Labeled)
    return (
        feature,
        version,
        outcome.label.text if named else None,
        outcome.label.name if named else None,
        outcome.label.qualifier if named else "",
        to_json(outcome.label.further if named else ()).decode(),
        None if named else outcome.reason,
        outcome.score if named else None,
        to_json(outcome.scores if named else {}).decode(),
        provenance.author,
        provenance.method,
        provenance.model,
        provenance.prompt,
        provenance.answer,
        created,
    )


def make_current(session: Session, named: Mapping[str, tuple[int, Labeled]], artifacts: Mapping[str, str]) -> None:
    """Makes versions the labels of their features, and so their names.

    Args:
        session: A session that writes.
        named: The number of the version, and what it says, by the feature's id.
        artifacts: The artifact of each feature.
    """
    labels = {each: found.label for each, (_, found) in named.items()}
    give_names(session, labels, artifacts)
    slugs: dict[str, str] = {}
    for artifact, owned in groupby(sorted(labels, key=artifacts.__getitem__), key=artifacts.__getitem__):
        slugs |= choose_slugs(session, artifact, {each: labels[each] for each in owned})
    rows = ((found.label.text, number, found.score, slugs[each], each) for each, (number, found) in named.items())
    update_rows(session, "features", NAME, rows)
    forget_embeddings(session, list(named), {artifacts[each] for each in named}, (EmbeddingKind.LABEL,))
