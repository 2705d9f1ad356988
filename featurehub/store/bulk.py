"""Many rows at once, as fast as each kind of database takes them."""

from collections.abc import Iterable, Sequence
from itertools import islice
from typing import Any

from sqlalchemy import Connection
from sqlalchemy.orm import Session

__all__ = ["insert_rows"]

BATCH = 2_000
"""Rows that are held in memory at once."""


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

        return copy_rows(connection, f"COPY {table} ({', '.join(columns)}) FROM STDIN", rows)
    insert = f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))})"
    count, left = 0, iter(rows)
    while batch := [tuple(row) for row in islice(left, BATCH)]:
        connection.exec_driver_sql(insert, batch)
        count += len(batch)
    return count
