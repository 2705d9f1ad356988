"""Stores versions of labels. A failed attempt is a version with a reason, and never a label."""

from collections.abc import Mapping
from itertools import groupby
from typing import Any

from sqlalchemy import func, insert, select, update
from sqlalchemy.orm import Session

from featurehub.errors import FeatureNotFound
from featurehub.records import Labeled, LabelVersion, Outcome, Provenance
from featurehub.store.naming import give_names, give_slugs
from featurehub.store.rows import batches, label_of
from featurehub.store.schema import FeatureRecord, LabelRecord

__all__ = ["save_labels"]


def save_labels(session: Session, labels: Mapping[str, tuple[Outcome, Provenance]], created: str) -> dict[str, int]:
    """Adds a version for each feature (by id) whose latest differs; returns every feature's latest version number.

    Raises FeatureNotFound.
    """
    artifacts = _artifacts(session, labels)
    latest = _latest(session, labels)
    new = {
        each: (_version(latest.get(each)) + 1, *labels[each])
        for each in labels
        if (known := latest.get(each)) is None or (known.outcome, known.provenance) != labels[each]
    }
    if new:
        session.execute(insert(LabelRecord), [_row(each, *entry, created) for each, entry in new.items()])
    named = {each: (number, found) for each, (number, found, _) in new.items() if isinstance(found, Labeled)}
    _make_current(session, named, artifacts)
    return {each: new[each][0] if each in new else _version(latest.get(each)) for each in labels}


def _version(latest: LabelVersion | None) -> int:
    return 0 if latest is None else latest.version


def _artifacts(session: Session, labels: Mapping[str, object]) -> dict[str, str]:
    found: dict[str, str] = {}
    for batch in batches(labels):
        query = select(FeatureRecord.id, FeatureRecord.artifact_id).where(FeatureRecord.id.in_(batch))
        found |= {row.id: row.artifact_id for row in session.execute(query)}
    unknown = [each for each in labels if each not in found]
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


def _row(feature: str, version: int, outcome: Outcome, provenance: Provenance, created: str) -> dict[str, Any]:
    named = isinstance(outcome, Labeled)
    return {
        "feature_id": feature,
        "version": version,
        "label": outcome.label if named else None,
        "reason": None if named else outcome.reason,
        "score": outcome.score if named else None,
        "scores": outcome.scores if named else {},
        "created": created,
        **provenance.model_dump(),
    }


def _make_current(session: Session, named: Mapping[str, tuple[int, Labeled]], artifacts: Mapping[str, str]) -> None:
    if not named:
        return
    rows = [
        {"id": each, "label": found.label, "label_version": number, "label_score": found.score}
        for each, (number, found) in named.items()
    ]
    session.execute(update(FeatureRecord), rows)
    labels = {each: found.label for each, (_, found) in named.items()}
    give_names(session, labels)
    for artifact, owned in groupby(sorted(labels, key=artifacts.__getitem__), key=artifacts.__getitem__):
        give_slugs(session, artifact, {each: labels[each] for each in owned})
