"""Copies a whole feature database into an empty one: a backup, the way back, and the move to another kind of database.

1. The source is read as one snapshot: others may go on reading and writing it.
2. The target has the tables of this version and no row. It takes all rows in one transaction, so that it holds either
   everything or nothing, and a copy that was interrupted is simply made again.
3. Before that transaction ends, the rows of each table are counted on both sides.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from sqlalchemy import JSON, Column, Connection, Integer, Table, Text, cast, func, select, text

from featurehub.errors import InvalidInput, StoreError
from featurehub.store.bulk import insert_rows
from featurehub.store.half import Half
from featurehub.store.nearest_postgres import index_vectors
from featurehub.store.schema import Base
from featurehub.store.store import PATIENCE, Store

__all__ = ["copy_store", "count_rows"]

TABLES: Sequence[Table] = Base.metadata.sorted_tables
BATCH = 2_000
"""Rows that are read at once."""


def count_rows(store: Store) -> int:
    """The number of rows in all tables."""
    with store._database.reading().connect() as connection:
        return sum(_count(connection, table) for table in TABLES)


def copy_store(source: Store, target: Store, copied: Callable[[int], object], patience: float = PATIENCE) -> int:
    """Copies all rows of one feature database into another, which must have none.

    Args:
        source: The database to read.
        target: The database to fill.
        copied: Told how many more rows were copied, again and again.
        patience: Seconds to wait for another writer of the target.

    Returns:
        How many rows were copied.

    Raises:
        InvalidInput: The target has rows.
        StoreBusy: Another process wrote to the target for all that time.
        StoreReadOnly: The target can only be read.
        StoreUnavailable: A server cannot be reached any more.
        StoreError: The target got other rows than the source has; it is left empty.
    """
    reading, writing = source._database.reading(), target._database.writing(patience)
    with reading.connect() as rows, writing.begin() as kept:
        if any(_count(kept, table) for table in TABLES):
            raise InvalidInput(
                f"the feature database {target.name} is not empty; give a new file or an empty database", param="to"
            )
        for table in TABLES:
            _copy(table, rows, kept, copied)
        index_vectors(kept)
        return sum(_verified(table, rows, kept, target.name) for table in TABLES)


def _copy(table: Table, source: Connection, target: Connection, copied: Callable[[int], object]) -> None:
    query = select(*map(_plain, table.columns)).order_by(*table.primary_key)
    found = source.execute(query, execution_options={"stream_results": True, "yield_per": BATCH})

    taken = [_taken(column, target) for column in table.columns]

    def rows() -> Iterator[Sequence[Any]]:
        for batch in found.partitions():
            for row in batch:
                yield [take(value) for take, value in zip(taken, row, strict=True)]
            copied(len(batch))

    insert_rows(target, table.name, [column.name for column in table.columns], rows())
    if target.dialect.name == "postgresql":
        _number_on(table, target)


def _plain(column: Column[Any]) -> Any:
    """The column as the other database takes it: JSON as its text, which is not read and written anew."""
    return cast(column, Text) if isinstance(column.type, JSON) else column


def _taken(column: Column[Any], target: Connection) -> Callable[[Any], Any]:
    """Turns a column's values into what the target takes: vectors are written in another way on each."""
    processor = (
        column.type.dialect_impl(target.dialect).bind_processor(target.dialect)
        if isinstance(column.type, Half)
        else None
    )
    return processor or (lambda value: value)


def _number_on(table: Table, target: Connection) -> None:
    """Lets the numbers that PostgreSQL gives to new rows go on after those that were copied."""
    column = table.autoincrement_column
    if column is not None and isinstance(column.type, Integer):
        sequence = f"pg_get_serial_sequence('{table.name}', '{column.name}')"
        target.execute(text(f"SELECT setval({sequence}, coalesce(max({column.name}), 0) + 1, false) FROM {table.name}"))


def _count(connection: Connection, table: Table) -> int:
    return connection.scalar(select(func.count()).select_from(table)) or 0


def _verified(table: Table, source: Connection, target: Connection, name: str) -> int:
    expected, found = _count(source, table), _count(target, table)
    if found != expected:
        raise StoreError(f"of {expected} rows of {table.name}, {found} arrived in {name}; it is left as it was")
    return found
