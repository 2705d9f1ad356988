"""The base of all tables."""

from typing import Any

from sqlalchemy import (
    JSON,
    ForeignKey,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

__all__ = ["OWNER_CHARS", "Base", "owned_by"]


OWNER_CHARS = 64
"""Longest name of an owner that the column holds."""


class Base(DeclarativeBase):
    """Base of all tables."""

    type_annotation_map = {dict[str, Any]: JSON, list[Any]: JSON}  # noqa: RUF012 (SQLAlchemy's own convention)


def owned_by(target: str) -> Mapped[Any]:
    return mapped_column(ForeignKey(target, ondelete="CASCADE"))
