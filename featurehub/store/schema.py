"""The tables. ``migrations`` creates them; a test keeps the two equal.

A column has the meaning and unit of the field of the same name in ``featurehub.records``, ``features`` or ``verdicts``.
"""

from typing import Any

from sqlalchemy import (
    JSON,
    CheckConstraint,
    Float,
    ForeignKey,
    Index,
    Integer,
    String,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

from featurehub.store.half import Half

__all__ = [
    "OWNER_CHARS",
    "AliasRecord",
    "ArtifactRecord",
    "Base",
    "ClusterRecord",
    "EmbedderRecord",
    "EmbeddingRecord",
    "EvaluationRecord",
    "FeatureRecord",
    "GroupRecord",
    "LabelRecord",
    "MemberRecord",
    "NameRecord",
    "ReportRecord",
    "TextRecord",
    "VerdictRecord",
    "WordRecord",
]


OWNER_CHARS = 64
"""Longest name of an owner that the column holds."""


class Base(DeclarativeBase):
    """Base of all tables."""

    type_annotation_map = {dict[str, Any]: JSON, list[Any]: JSON}  # noqa: RUF012 (SQLAlchemy's own convention)


def _owner(target: str) -> Mapped[Any]:
    return mapped_column(ForeignKey(target, ondelete="CASCADE"))


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
    artifact_id: Mapped[str] = _owner("artifacts.id")


class FeatureRecord(Base):
    """A live latent.

    ``label``, ``label_version`` and ``label_score`` repeat the newest version in ``labels`` that has a label.
    """

    __tablename__ = "features"

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    artifact_id: Mapped[str] = _owner("artifacts.id")
    latent: Mapped[int]
    slug: Mapped[str] = mapped_column(String(100))
    density: Mapped[float] = mapped_column(Float)
    max_activation: Mapped[float] = mapped_column(Float)
    label: Mapped[str] = mapped_column(Text, default="")
    label_version: Mapped[int] = mapped_column(default=0)
    label_score: Mapped[float | None] = mapped_column(Float)
    strength: Mapped[float | None] = mapped_column(Float)
    steerability: Mapped[float | None] = mapped_column(Float, index=True)
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


class LabelRecord(Base):
    """One attempt at labelling a feature: a label, or the reason why there is none."""

    __tablename__ = "labels"

    feature_id: Mapped[str] = mapped_column(ForeignKey("features.id", ondelete="CASCADE"), primary_key=True)
    version: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    label: Mapped[str | None] = mapped_column(Text)
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
    """

    __tablename__ = "names"

    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    feature_id: Mapped[str] = _owner("features.id")
    name: Mapped[str] = mapped_column(Text)
    key: Mapped[str] = mapped_column(Text, index=True)
    kind: Mapped[str] = mapped_column(String(10))
    owner: Mapped[str] = mapped_column(String(OWNER_CHARS), server_default="")

    __table_args__ = (UniqueConstraint("feature_id", "owner", "key", name="uq_names_feature_owner_key"),)


class TextRecord(Base):
    """The words of a feature's contexts and top tokens, folded, in which search looks after the names."""

    __tablename__ = "texts"

    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    feature_id: Mapped[str] = mapped_column(ForeignKey("features.id", ondelete="CASCADE"), unique=True)
    text: Mapped[str] = mapped_column(Text)


class WordRecord(Base):
    """A word and the latents that go with it: ``latents`` is a list of [latent, how much], best first."""

    __tablename__ = "words"

    artifact_id: Mapped[str] = mapped_column(ForeignKey("artifacts.id", ondelete="CASCADE"), primary_key=True)
    word: Mapped[str] = mapped_column(Text, primary_key=True)
    latents: Mapped[list[Any]]


class ReportRecord(Base):
    """A drift report except its verdicts. The highest ``number`` is the latest."""

    __tablename__ = "drift_reports"

    number: Mapped[int] = mapped_column(Integer, primary_key=True)
    id: Mapped[str] = mapped_column(String(64), unique=True)
    artifact_id: Mapped[str] = _owner("artifacts.id")
    model: Mapped[str] = mapped_column(Text)
    fingerprint: Mapped[str] = mapped_column(String(64))
    created: Mapped[str] = mapped_column(String(40))
    state: Mapped[str] = mapped_column(String(10))
    report: Mapped[dict[str, Any]]

    verdicts: Mapped[list["VerdictRecord"]] = relationship(lazy="raise", order_by="VerdictRecord.latent", viewonly=True)

    __table_args__ = (Index("ix_drift_reports_artifact_fingerprint", "artifact_id", "fingerprint"),)


class VerdictRecord(Base):
    """The verdict of a drift report on one latent."""

    __tablename__ = "drift_verdicts"

    report_id: Mapped[str] = mapped_column(ForeignKey("drift_reports.id", ondelete="CASCADE"), primary_key=True)
    latent: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    label: Mapped[str] = mapped_column(Text)
    reads: Mapped[str] = mapped_column(String(10))
    steers: Mapped[str] = mapped_column(String(10))
    reason: Mapped[str] = mapped_column(Text)
    evidence: Mapped[list[Any]]


class EvaluationRecord(Base):
    """What an artifact scored on one model and text. The highest ``number`` is the latest."""

    __tablename__ = "evaluations"

    number: Mapped[int] = mapped_column(Integer, primary_key=True)
    artifact_id: Mapped[str] = _owner("artifacts.id")
    fingerprint: Mapped[str] = mapped_column(String(64))
    model: Mapped[str] = mapped_column(Text)
    text: Mapped[str] = mapped_column(Text)
    text_hash: Mapped[str] = mapped_column(String(64))
    created: Mapped[str] = mapped_column(String(40))
    report: Mapped[dict[str, Any]]

    __table_args__ = (Index("ix_evaluations_artifact_fingerprint", "artifact_id", "fingerprint"),)


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


class GroupRecord(Base):
    """A name that stands for several features. ``words`` are those of its name and description, folded."""

    __tablename__ = "feature_groups"

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    name: Mapped[str] = mapped_column(Text)
    key: Mapped[str] = mapped_column(Text)
    owner: Mapped[str] = mapped_column(String(OWNER_CHARS))
    description: Mapped[str] = mapped_column(Text)
    words: Mapped[str] = mapped_column(Text)
    method: Mapped[str] = mapped_column(Text)
    created: Mapped[str] = mapped_column(String(40))

    __table_args__ = (UniqueConstraint("key", "owner", name="uq_feature_groups_key_owner"),)


class MemberRecord(Base):
    """A feature of a group. It stays when the feature goes, so that no group becomes a smaller one in silence."""

    __tablename__ = "group_members"

    group_id: Mapped[str] = mapped_column(ForeignKey("feature_groups.id", ondelete="CASCADE"), primary_key=True)
    place: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    feature_id: Mapped[str] = mapped_column(String(40))
    artifact_id: Mapped[str] = mapped_column(String(64))
    latent: Mapped[int]
    label: Mapped[str] = mapped_column(Text)
    weight: Mapped[float] = mapped_column(Float)
