"""Vectors of features' texts."""

from sqlalchemy import (
    ForeignKey,
    Index,
    String,
    Text,
)
from sqlalchemy.orm import Mapped, mapped_column

from featurehub.store.half import Half
from featurehub.store.schema.base import Base

__all__ = ["EmbedderRecord", "EmbeddingRecord"]


class EmbedderRecord(Base):
    """Which embedder an artifact's embeddings come from. ``stamp`` changes with every change of them."""

    __tablename__ = "embedders"

    artifact_id: Mapped[str] = mapped_column(ForeignKey("artifacts.id", ondelete="CASCADE"), primary_key=True)
    embedder: Mapped[str] = mapped_column(Text)
    dimensions: Mapped[int]
    stamp: Mapped[str] = mapped_column(String(32))


class EmbeddingRecord(Base):
    """A feature's text of one ``EmbeddingKind`` as a vector. A text that changes loses it.

    ``artifact_id`` repeats the feature's, so that vectors of some SAEs are found without their features.
    """

    __tablename__ = "embeddings"

    feature_id: Mapped[str] = mapped_column(ForeignKey("features.id", ondelete="CASCADE"), primary_key=True)
    kind: Mapped[str] = mapped_column(String(10), primary_key=True)
    artifact_id: Mapped[str] = mapped_column(String(64))
    vector: Mapped[bytes] = mapped_column(Half)

    __table_args__ = (Index("ix_embeddings_artifact_kind", "artifact_id", "kind"),)
