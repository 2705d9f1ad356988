"""Statements written as SQL, once: nothing of them is built anew for a request, or for each of many rows."""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import TextClause, bindparam, text
from sqlalchemy.orm import Session

__all__ = ["run_many", "statement"]


def statement(sql: str, *lists: str) -> TextClause:
    """A statement in which each of the named parameters stands for a list: ``… IN :ids``."""
    return text(sql).bindparams(*(bindparam(name, expanding=True) for name in lists))


def run_many(session: Session, query: TextClause, rows: Sequence[Mapping[str, Any]]) -> None:
    """Runs a statement for each of the rows, of which there may be none."""
    if rows:
        session.execute(query, rows)
