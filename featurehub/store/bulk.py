"""Many rows at once, as fast as each kind of database takes them."""

from collections.abc import Iterable, Sequence
from contextlib import nullcontext
from itertools import chain, islice
from typing import Any

from sqlalchemy import Connection
from sqlalchemy.orm import Session

from featurehub.store.sqlite import indexed_at_once

__all__ = ["insert_rows", "update_rows"]

BATCH = 2_000
"""Rows that a statement is run for at once."""
FEW = 100
"""Below so many rows, a table of their own costs PostgreSQL more than it saves."""


def insert_rows(target: Session | Connection, table: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> int:
    """Adds rows to a table.

    Args:
        target: A session or connection that writes.
        table: The table's name.
        columns: Names of columns.
        rows: For each row the values of these columns; JSON as its text.

    Returns:
        How many rows were added.

    Raises:
        StoreUnavailable: The database's server cannot be reached any more.
    """
    connection = target.connection() if isinstance(target, Session) else target
    if connection.dialect.name == "postgresql":
        from featurehub.store.postgres import copy_rows

        count = copy_rows(connection, f"COPY {table} ({', '.join(columns)}) FROM STDIN", rows)
        if count >= BATCH:  # Until the server comes to it by itself, it would plan for a table without these rows.
            connection.exec_driver_sql(f"ANALYZE {table}")
        return count
    statement = f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))})"
    left = iter(rows)
    first = list(islice(left, BATCH))
    with nullcontext() if len(first) < BATCH else indexed_at_once(connection, table):
        return _run(connection, statement, chain(first, left))


def update_rows(session: Session, table: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Changes rows of a table that has an ``id``.

    Args:
        session: A session that writes.
        table: The table's name.
        columns: Names of the columns to change.
        rows: For each row the new values of these columns, and its id last; JSON as its text.

    Raises:
        StoreUnavailable: The database's server cannot be reached any more.
    """
    connection, every = session.connection(), list(rows)
    place = "?" if connection.dialect.name == "sqlite" else "%s"
    if place == "?" or len(every) < FEW:
        changes = ", ".join(f"{name} = {place}" for name in columns)
        _run(connection, f"UPDATE {table} SET {changes} WHERE id = {place}", every)
    else:
        named = ", ".join((*columns, "id"))
        connection.exec_driver_sql(f"CREATE TEMPORARY TABLE changed AS SELECT {named} FROM {table} WITH NO DATA")
        insert_rows(connection, "changed", (*columns, "id"), every)
        changes = ", ".join(f"{name} = changed.{name}" for name in columns)
        connection.exec_driver_sql(f"UPDATE {table} SET {changes} FROM changed WHERE {table}.id = changed.id")
        connection.exec_driver_sql("DROP TABLE changed")


def _run(connection: Connection, statement: str, rows: Iterable[Sequence[Any]]) -> int:
    """Runs a statement for each of the rows, and counts them."""
    count, left = 0, iter(rows)
    while batch := [tuple(row) for row in islice(left, BATCH)]:
        connection.exec_driver_sql(statement, batch)
        count += len(batch)
    return count
