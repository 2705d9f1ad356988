"""Statements written as SQL and built once, not for each request or for each of many rows."""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import String, TextClause, bindparam, text
from sqlalchemy.orm import Session

__all__ = ["run_many", "statement"]


def statement(sql: str, *lists: str) -> TextClause:
    """A prepared statement.

    Args:
        sql: Its text.
        lists: Names of the parameters that stand for a list of texts: ``… IN :ids``.
    """
    return text(sql).bindparams(*(bindparam(name, type_=String, expanding=True) for name in lists))


def run_many(session: Session, query: TextClause, rows: Sequence[Mapping[str, Any]]) -> None:
    """Runs a statement for each of the rows; for none, if there are none."""
    if rows:
        session.execute(query, rows)
