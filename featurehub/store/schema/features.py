"""Features: live latents, their labels and names, and what else finds them."""

from typing import Any

from sqlalchemy import (
    JSON,
    CheckConstraint,
    Float,
    ForeignKey,
    Integer,
    LargeBinary,
    String,
    Text,
    UniqueConstraint,
)
from sqlalchemy.orm import Mapped, mapped_column, relationship

from featurehub.store.schema.base import OWNER_CHARS, Base, owned_by

__all__ = ["ClusterRecord", "FeatureRecord", "LabelRecord", "MapRecord", "NameRecord", "TextRecord", "WordRecord"]


class FeatureRecord(Base):
    """A live latent.

    ``label``, ``label_version`` and ``label_score`` repeat the newest version in ``labels`` that has a label.
    """

    __tablename__ = "features"

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    artifact_id: Mapped[str] = owned_by("artifacts.id")
    latent: Mapped[int]
    slug: Mapped[str] = mapped_column(String(100))
    density: Mapped[float] = mapped_column(Float)
    max_activation: Mapped[float] = mapped_column(Float)
    label: Mapped[str] = mapped_column(Text, default="")
    label_version: Mapped[int] = mapped_column(default=0)
    label_score: Mapped[float | None] = mapped_column(Float)
    strength: Mapped[float | None] = mapped_column(Float)
    steerability: Mapped[float | None] = mapped_column(Float)
    expected_steerability: Mapped[float | None] = mapped_column(Float)
    calibration: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    quantiles: Mapped[dict[str, Any]]
    contexts: Mapped[list[Any]]
    top_tokens: Mapped[list[Any]]
    bottom_tokens: Mapped[list[Any]]
    neighbors: Mapped[list[Any]]
    histogram: Mapped[dict[str, Any] | None] = mapped_column(JSON)
    coactive: Mapped[list[Any]] = mapped_column(server_default="[]")
    cluster: Mapped[int | None]

    labels: Mapped[list["LabelRecord"]] = relationship(lazy="raise", order_by="LabelRecord.version", viewonly=True)

    __table_args__ = (UniqueConstraint("artifact_id", "latent"), UniqueConstraint("artifact_id", "slug"))


class ClusterRecord(Base):
    """A cluster of an artifact's features, which have its ``number`` as their ``cluster``."""

    __tablename__ = "clusters"

    artifact_id: Mapped[str] = mapped_column(ForeignKey("artifacts.id", ondelete="CASCADE"), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    name: Mapped[str] = mapped_column(Text)
    latents: Mapped[list[Any]]


class MapRecord(Base):
    """Where an artifact's features lie among each other: see ``featurehub.store.maps`` for the bytes."""

    __tablename__ = "maps"

    artifact_id: Mapped[str] = mapped_column(ForeignKey("artifacts.id", ondelete="CASCADE"), primary_key=True)
    latents: Mapped[bytes] = mapped_column(LargeBinary)
    places: Mapped[bytes] = mapped_column(LargeBinary)


class LabelRecord(Base):
    """One attempt at labelling a feature: a label with its parts, or the reason why there is none."""

    __tablename__ = "labels"

    feature_id: Mapped[str] = mapped_column(ForeignKey("features.id", ondelete="CASCADE"), primary_key=True)
    version: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    label: Mapped[str | None] = mapped_column(Text)
    name: Mapped[str | None] = mapped_column(Text)
    qualifier: Mapped[str] = mapped_column(Text, server_default="")
    further: Mapped[list[Any]] = mapped_column(server_default="[]")
    reason: Mapped[str | None] = mapped_column(Text)
    score: Mapped[float | None] = mapped_column(Float)
    scores: Mapped[dict[str, Any]]
    author: Mapped[str] = mapped_column(Text)
    method: Mapped[str] = mapped_column(Text)
    model: Mapped[str] = mapped_column(Text)
    prompt: Mapped[str] = mapped_column(Text)
    answer: Mapped[str] = mapped_column(Text)
    created: Mapped[str] = mapped_column(String(40))

    __table_args__ = (CheckConstraint("(label IS NULL) <> (reason IS NULL)", name="ck_labels_label_or_reason"),)


class NameRecord(Base):
    """A name that a feature answers to.

    ``key`` is the folded name, ``kind`` a ``NameKind``, and ``owner`` whoever alone knows the name; "" is everyone.
    ``artifact_id`` repeats the feature's, so that names of some SAEs are found without their features.
    Of the key's first words ``name_words`` are those of the name of its label, ``head_words`` those of the head.
    """

    __tablename__ = "names"

    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    feature_id: Mapped[str] = owned_by("features.id")
    artifact_id: Mapped[str] = mapped_column(String(64))
    name: Mapped[str] = mapped_column(Text)
    key: Mapped[str] = mapped_column(Text, index=True)
    kind: Mapped[str] = mapped_column(String(10))
    owner: Mapped[str] = mapped_column(String(OWNER_CHARS), server_default="")
    name_words: Mapped[int]
    head_words: Mapped[int]

    __table_args__ = (UniqueConstraint("feature_id", "owner", "key", name="uq_names_feature_owner_key"),)


class TextRecord(Base):
    """The words of a feature's contexts and top tokens, folded, in which search looks after the names.

    ``artifact_id`` repeats the feature's, as in ``names``.
    """

    __tablename__ = "texts"

    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    feature_id: Mapped[str] = mapped_column(ForeignKey("features.id", ondelete="CASCADE"), unique=True)
    artifact_id: Mapped[str] = mapped_column(String(64))
    text: Mapped[str] = mapped_column(Text)


class WordRecord(Base):
    """A word and the latents that go with it: ``latents`` is a list of [latent, how much], best first."""

    __tablename__ = "words"

    artifact_id: Mapped[str] = mapped_column(ForeignKey("artifacts.id", ondelete="CASCADE"), primary_key=True)
    word: Mapped[str] = mapped_column(Text, primary_key=True)
    latents: Mapped[list[Any]]
