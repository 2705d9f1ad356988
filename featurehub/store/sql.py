"""Statements written as SQL and built once, not for each request or for each of many rows."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import ARRAY, String, Text, TextClause, bindparam, text
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.orm import Session
from sqlalchemy.sql.compiler import SQLCompiler

__all__ = ["run_many", "statement"]


class Statement(TextClause):
    """SQL with parameters that stand for lists.

    On PostgreSQL a list is one parameter, an array: so the statement is the same for lists of any length, and is parsed
    and planned once for each connection. SQLite has no arrays, and takes a parameter for each item.

    Attributes:
        with_arrays: The statement for PostgreSQL.
    """

    inherit_cache = True
    with_arrays: TextClause


@compiles(Statement, "postgresql")
def _with_arrays(element: Statement, compiler: SQLCompiler, **options: Any) -> str:
    return compiler.visit_textclause(element.with_arrays, **options)


def statement(sql: str, *lists: str) -> TextClause:
    """A prepared statement.

    Args:
        sql: Its text.
        lists: Names of the parameters that stand for a list of texts: ``… IN :ids``.
    """
    found = Statement(sql).bindparams(*(bindparam(name, type_=String, expanding=True) for name in lists))
    for name in lists:
        sql = re.sub(rf"IN :{name}\b", f"= ANY(:{name})", sql)
    found.with_arrays = text(sql).bindparams(*(bindparam(name, type_=ARRAY(Text)) for name in lists))
    return found


def run_many(session: Session, query: TextClause, rows: Sequence[Mapping[str, Any]]) -> None:
    """Runs a statement for each of the rows; for none, if there are none."""
    if rows:
        session.execute(query, rows)
