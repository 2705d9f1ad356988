"""Drift reports and their verdicts."""

from typing import Any

from sqlalchemy import (
    ForeignKey,
    Index,
    Integer,
    String,
    Text,
)
from sqlalchemy.orm import Mapped, mapped_column, relationship

from featurehub.store.schema.base import Base, owned_by

__all__ = ["ReportRecord", "VerdictRecord"]


class ReportRecord(Base):
    """A drift report except its verdicts. The highest ``number`` is the latest."""

    __tablename__ = "drift_reports"

    number: Mapped[int] = mapped_column(Integer, primary_key=True)
    id: Mapped[str] = mapped_column(String(64), unique=True)
    artifact_id: Mapped[str] = owned_by("artifacts.id")
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
