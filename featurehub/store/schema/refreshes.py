"""Refreshes of SAEs for retrained models: what became of each feature and of its names."""

from typing import Any

from sqlalchemy import ForeignKey, Index, Integer, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from featurehub.store.schema.base import OWNER_CHARS, Base, owned_by

__all__ = ["FateRecord", "FormerNameRecord", "RefreshRecord"]


class RefreshRecord(Base):
    """How an artifact was made from its parent: the report except its features. The parent may be gone."""

    __tablename__ = "refreshes"

    artifact_id: Mapped[str] = mapped_column(ForeignKey("artifacts.id", ondelete="CASCADE"), primary_key=True)
    parent_id: Mapped[str] = mapped_column(String(64))
    created: Mapped[str] = mapped_column(String(40))
    report: Mapped[dict[str, Any]]

    __table_args__ = (Index("ix_refreshes_parent", "parent_id"),)


class FateRecord(Base):
    """What became of one of the parent's features, whose id is ``former_id``; its names mean ``moved_to`` now."""

    __tablename__ = "refreshed_features"

    artifact_id: Mapped[str] = mapped_column(ForeignKey("artifacts.id", ondelete="CASCADE"), primary_key=True)
    latent: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    former_id: Mapped[str] = mapped_column(String(40), index=True)
    fate: Mapped[str] = mapped_column(String(12))
    moved_to: Mapped[int | None]
    outcome: Mapped[dict[str, Any]]


class FormerNameRecord(Base):
    """A name or slug of one of the parent's features that was not kept. ``key`` is the folded name."""

    __tablename__ = "former_names"

    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    artifact_id: Mapped[str] = owned_by("artifacts.id")
    latent: Mapped[int]
    key: Mapped[str] = mapped_column(Text, index=True)
    owner: Mapped[str] = mapped_column(String(OWNER_CHARS), server_default="")
