"""Artifacts: registered SAEs, their further names, and what they scored."""

from typing import Any

from sqlalchemy import (
    Index,
    Integer,
    String,
    Text,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from featurehub.store.schema.base import Base, owned_by

__all__ = ["AliasRecord", "ArtifactRecord", "EvaluationRecord"]


class ArtifactRecord(Base):
    """A registered SAE. ``model`` is the hash of all its model's weights."""

    __tablename__ = "artifacts"

    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    name: Mapped[str] = mapped_column(String(200), unique=True)
    model: Mapped[str] = mapped_column(String(64), index=True)
    manifest: Mapped[dict[str, Any]]
    path: Mapped[str] = mapped_column(Text)
    created: Mapped[str] = mapped_column(String(40))
    is_default: Mapped[bool]

    __table_args__ = (
        Index(
            "ix_artifacts_one_default",
            "model",
            unique=True,
            sqlite_where=text("is_default"),
            postgresql_where=text("is_default"),
        ),
    )


class AliasRecord(Base):
    """A further name of an artifact."""

    __tablename__ = "artifact_aliases"

    name: Mapped[str] = mapped_column(String(200), primary_key=True)
    artifact_id: Mapped[str] = owned_by("artifacts.id")


class EvaluationRecord(Base):
    """What an artifact scored on one model and text. The highest ``number`` is the latest."""

    __tablename__ = "evaluations"

    number: Mapped[int] = mapped_column(Integer, primary_key=True)
    artifact_id: Mapped[str] = owned_by("artifacts.id")
    fingerprint: Mapped[str] = mapped_column(String(64))
    model: Mapped[str] = mapped_column(Text)
    text: Mapped[str] = mapped_column(Text)
    text_hash: Mapped[str] = mapped_column(String(64))
    created: Mapped[str] = mapped_column(String(40))
    report: Mapped[dict[str, Any]]

    __table_args__ = (Index("ix_evaluations_artifact_fingerprint", "artifact_id", "fingerprint"),)
