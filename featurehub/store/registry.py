"""Registers artifacts: which artifact owns a name, and which one is a model's default.

1. A name means one artifact. An artifact that is registered under another's name or alias takes it over.
2. A model has one default. When it is removed, the latest of the model's other artifacts takes its place.
"""

from pathlib import Path

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from featurehub.artifacts.manifest import Manifest
from featurehub.errors import ArtifactNotFound
from featurehub.store.schema import AliasRecord, ArtifactRecord

__all__ = ["default_of", "drop_artifact", "heir_of", "make_default", "owned_artifact", "save_artifact"]


def owned_artifact(session: Session, artifact: str) -> ArtifactRecord:
    """The artifact with this id.

    Raises:
        ArtifactNotFound: There is none.
    """
    record = session.get(ArtifactRecord, artifact)
    if record is None:
        raise ArtifactNotFound(f"there is no artifact with the id {artifact!r}", param="artifact")
    return record


def default_of(session: Session, model: str | None) -> str | None:
    """The id of a model's default, else of its latest artifact; of any model's for None."""
    query = select(ArtifactRecord.id).order_by(
        ArtifactRecord.is_default.desc(), ArtifactRecord.created.desc(), ArtifactRecord.id
    )
    if model is not None:
        query = query.where(ArtifactRecord.model == model)
    return session.scalars(query.limit(1)).first()


def save_artifact(session: Session, manifest: Manifest, path: str | Path, default: bool | None) -> None:
    """Registers an artifact or updates the one with this id; see ``Writer.put_artifact``."""
    took_default = _take_name(session, manifest)
    former = _default_of(session, manifest.model.whole)
    record = session.get(ArtifactRecord, manifest.id) or ArtifactRecord(id=manifest.id)
    record.name, record.model, record.path = manifest.name, manifest.model.whole, str(path)
    record.manifest, record.created = manifest.model_dump(mode="json"), manifest.created
    chosen = default if default is not None else took_default or former is None or former is record
    record.is_default = chosen and former is record
    session.add(record)
    session.flush()
    if chosen:
        make_default(session, record)


def make_default(session: Session, record: ArtifactRecord) -> ArtifactRecord | None:
    """Makes an artifact its model's default and returns the former one, where it was another."""
    former = _default_of(session, record.model)
    if former is record:
        return None
    if former is not None:
        former.is_default = False
        # Before the other becomes the default, since the database allows one per model.
        session.flush()
    record.is_default = True
    session.flush()
    return former


def drop_artifact(session: Session, record: ArtifactRecord) -> ArtifactRecord | None:
    """Removes an artifact and all that belongs to it; returns its successor as the default, if it was one."""
    heir = heir_of(session, record)
    session.execute(delete(ArtifactRecord).where(ArtifactRecord.id == record.id))
    if heir is not None:
        make_default(session, heir)
    return heir


def heir_of(session: Session, record: ArtifactRecord) -> ArtifactRecord | None:
    """The artifact that becomes the default when this one is removed: the latest other one of the model, if any."""
    others = select(ArtifactRecord).where(ArtifactRecord.model == record.model, ArtifactRecord.id != record.id)
    latest = others.order_by(ArtifactRecord.created.desc(), ArtifactRecord.id).limit(1)
    return session.scalars(latest).first() if record.is_default else None


def _take_name(session: Session, manifest: Manifest) -> bool:
    """Renames the former owner of the name. Returns whether that one was its model's default."""
    session.execute(delete(AliasRecord).where(AliasRecord.name == manifest.name))
    former = session.scalars(select(ArtifactRecord).where(ArtifactRecord.name == manifest.name)).first()
    if former is None or former.id == manifest.id:
        return False
    former.name = f"{former.name}@{former.id[:12]}"
    session.flush()
    return former.is_default


def _default_of(session: Session, model: str) -> ArtifactRecord | None:
    return session.scalars(
        select(ArtifactRecord).where(ArtifactRecord.model == model, ArtifactRecord.is_default)
    ).first()
