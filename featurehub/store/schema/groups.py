"""Groups of features."""

from sqlalchemy import (
    Float,
    ForeignKey,
    String,
    Text,
    UniqueConstraint,
)
from sqlalchemy.orm import Mapped, mapped_column

from featurehub.store.schema.base import OWNER_CHARS, Base

__all__ = ["GroupRecord", "MemberRecord"]


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
