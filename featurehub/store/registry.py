"""Registers artifacts: who owns a name, and which artifact is a model's default."""

from pathlib import Path

from sqlalchemy import select
from sqlalchemy.orm import Session

from featurehub.artifacts.manifest import Manifest
from featurehub.errors import ArtifactNotFound
from featurehub.store.schema import ArtifactRecord

__all__ = ["owned_artifact", "save_artifact"]


def owned_artifact(session: Session, artifact: str) -> ArtifactRecord:
    """The artifact with this id. Raises ArtifactNotFound."""
    record = session.get(ArtifactRecord, artifact)
    if record is None:
        raise ArtifactNotFound(f"there is no artifact with the id {artifact!r}", param="artifact")
    return record


def save_artifact(session: Session, manifest: Manifest, path: str | Path, default: bool | None) -> None:
    """Registers an artifact or updates the one with this id; see ``Writer.put_artifact``."""
    took_default = _take_name(session, manifest)
    record = session.get(ArtifactRecord, manifest.id) or ArtifactRecord(id=manifest.id, is_default=False)
    record.name, record.model, record.path = manifest.name, manifest.model.whole, str(path)
    record.manifest, record.created = manifest.model_dump(mode="json"), manifest.created
    former = _default_of(session, record.model)
    record.is_default = default if default is not None else took_default or former is None or former is record
    if record.is_default and former is not None and former is not record:
        former.is_default = False
        # Before the other becomes the default: the database allows one a model.
        session.flush()
    session.add(record)
    session.flush()


def _take_name(session: Session, manifest: Manifest) -> bool:
    """Renames the former owner of the name; whether it was its model's default."""
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
