"""Variants and their versions."""

from sqlalchemy import ForeignKey, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from featurehub.store.schema.base import OWNER_CHARS, Base

__all__ = ["VariantRecord", "VersionRecord"]


class VariantRecord(Base):
    """A name that stands for edits on a model. ``latest`` is the number of its latest version."""

    __tablename__ = "variants"

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    name: Mapped[str] = mapped_column(String(100))
    owner: Mapped[str] = mapped_column(String(OWNER_CHARS))
    latest: Mapped[int]

    __table_args__ = (UniqueConstraint("name", "owner", name="uq_variants_name_owner"),)


class VersionRecord(Base):
    """A version of a variant, which is never changed. ``definition`` is what it does, as JSON."""

    __tablename__ = "variant_versions"

    variant_id: Mapped[str] = mapped_column(ForeignKey("variants.id", ondelete="CASCADE"), primary_key=True)
    version: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    model: Mapped[str] = mapped_column(Text)
    definition: Mapped[str] = mapped_column(Text)
    description: Mapped[str] = mapped_column(Text)
    created: Mapped[str] = mapped_column(String(40))
