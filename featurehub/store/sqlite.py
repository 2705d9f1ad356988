"""How an SQLite file is opened, locked and upgraded.

1. If the file and its folder can be written, SQLite opens it as usual: readers and one writer side by side (WAL).
2. If not, SQLite cannot create the files beside it (``-wal``, ``-shm``) that such a database is read through. If none
   of them is there, no process has it open, and the file is read as one that does not change.
3. If they are there, they hold changes that the file itself does not have yet: they are read too, or opening fails. The
   file alone, which would be an older state, is never read instead.
4. A writer takes the lock when its transaction begins, so that two never wait for each other. It waits in short turns,
   between which it can be interrupted.
5. During an upgrade, foreign keys are off: to change a column, Alembic copies the table and drops the old one, which
   would delete all rows that refer to it. They are checked at the end instead, and triggers that were dropped with a
   table are created again.
"""

import os
import sqlite3
import time
import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

from sqlalchemy import URL, Connection, Engine, NullPool, create_engine, event
from sqlalchemy.exc import SAWarning

from featurehub.errors import StoreError
from featurehub.store.database import busy, read_only

__all__ = ["DatabaseFile", "SqliteDatabase", "connect", "indexed_at_once", "source_of"]

READER_PATIENCE_MS = 5_000
"""How long a reader waits while another process recovers or creates the database; it never waits for a writer."""
TURN_SECONDS = 1.0
BESIDE = ("-wal", "-shm", "-journal")
BULK_CACHE_KIB = 65_536
UNREFLECTED = "Skipped unsupported reflection of expression-based index"
"""Pages that a connection keeps while it adds many rows: ids are hashes, so each goes to another page of an index."""


class DatabaseFile(NamedTuple):
    """What a connection opens.

    Attributes:
        uri: The file, as a URI for SQLite.
        version: Inode, size and time of the last change (in nanoseconds) of a file that is assumed not to change; else
            None.
    """

    uri: str
    version: tuple[int, ...] | None = None

    @property
    def writable(self) -> bool:
        """Whether it is opened for writing."""
        return "mode=ro" not in self.uri


class SqliteDatabase:
    """The ``Database`` in an SQLite file.

    Attributes:
        name: The file's path.
        path: The file.
        engine: Its connections.
    """

    def __init__(self, path: Path) -> None:
        self.name, self.path = str(path), path
        self._source = source_of(path)
        # The URL only selects SQLAlchemy's pool for files; ``connect`` decides what is opened.
        # No thread waits for another's connection: those that wait to write would keep readers from reading.
        self.engine = create_engine(
            URL.create("sqlite", database=str(path)), creator=lambda: connect(self._source), max_overflow=-1
        )
        event.listen(self.engine, "begin", self._begin)

    def reading(self) -> Engine:
        """Connections whose transactions are consistent snapshots."""
        self._look_again()
        return self.engine

    def writing(self, patience: float) -> Engine:
        """Connections whose transactions hold the write lock. Raises StoreReadOnly where the file can only be read."""
        self._look_again()
        if not self._source.writable:
            raise read_only(self.name)
        return self.engine.execution_options(patience=patience)

    @contextmanager
    def upgrading(self, patience: float) -> Iterator[Connection]:
        """A transaction that holds the write lock, without foreign keys until its end; see ``Database.upgrading``."""
        if not source_of(self.path).writable:
            raise read_only(self.name)
        engine = create_engine(
            "sqlite://", creator=lambda: connect(source_of(self.path), foreign_keys=False), poolclass=NullPool
        )
        event.listen(engine, "begin", self._begin)
        with engine.execution_options(patience=patience).begin() as connection:
            dangling = _dangling(connection)
            yield connection
            _check_lost(_dangling(connection) - dangling)

    @contextmanager
    def revising(self, connection: Connection) -> Iterator[None]:
        """Creates again what a revision drops with its table, be it of the revision just before.

        Alembic makes a changed table anew. It takes over neither triggers nor, with a warning, indexes of expressions.
        """
        triggers, indexes = _triggers(connection), _indexes_of_expressions(connection)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", UNREFLECTED, SAWarning)
            yield
        _restore(connection, indexes | triggers)

    def exists(self) -> bool:
        """Whether the file is there."""
        return self.path.exists()

    def check_writable(self) -> None:
        """Raises StoreReadOnly where the file cannot be written or made. A writer at this moment does not matter."""
        writable = source_of(self.path).writable if self.exists() else os.access(self.path.parent, os.W_OK)
        if not writable:
            raise read_only(self.name)

    def _begin(self, connection: Connection) -> None:
        raw = connection.connection.driver_connection
        assert isinstance(raw, sqlite3.Connection)
        patience: float | None = connection.get_execution_options().get("patience")
        if patience is None:
            raw.execute("BEGIN").close()
        else:
            begin_writing(raw, self.name, patience)

    def _look_again(self) -> None:
        """Reopens a file that was assumed not to change, if another process has changed it."""
        if not self._source.writable and (now := source_of(self.path)) != self._source:
            self._source = now
            self.engine.dispose()


def source_of(path: Path) -> DatabaseFile:
    """How to open the database, as the file system has it at this moment."""
    uri = f"file:{quote(str(path.absolute()))}"
    if not path.exists() or (os.access(path, os.W_OK) and os.access(path.parent, os.W_OK)):
        return DatabaseFile(uri)
    if any(_is_in_use(Path(f"{path}{suffix}")) for suffix in BESIDE):
        return DatabaseFile(f"{uri}?mode=ro")
    found = path.stat()
    return DatabaseFile(f"{uri}?mode=ro&immutable=1", (found.st_ino, found.st_size, found.st_mtime_ns))


def _is_in_use(beside: Path) -> bool:
    """Whether a file beside the database may hold changes: any index (``-shm``), or another file that is not empty."""
    return beside.exists() and (beside.name.endswith("-shm") or beside.stat().st_size > 0)


def connect(source: DatabaseFile, *, foreign_keys: bool = True) -> sqlite3.Connection:
    """Opens a connection that begins and ends transactions only when it is told to. Threads may pass it on.

    Args:
        source: What to open.
        foreign_keys: Whether SQLite enforces them.
    """
    connection = sqlite3.connect(source.uri, uri=True, isolation_level=None, check_same_thread=False)
    pragmas = (f"busy_timeout={READER_PATIENCE_MS}", f"foreign_keys={foreign_keys:d}", "synchronous=NORMAL")
    for pragma in pragmas:
        connection.execute(f"PRAGMA {pragma}").close()
    return connection


def begin_writing(connection: sqlite3.Connection, name: str, patience: float) -> None:
    """Begins a transaction that holds the write lock.

    Args:
        connection: A connection that is not in a transaction.
        name: Name of the database, for the errors.
        patience: Seconds to wait for another writer.

    Raises:
        StoreBusy: Another process wrote for all that time.
        StoreReadOnly: The file or its folder cannot be written.
    """
    deadline = time.monotonic() + patience
    try:
        while not _try_to_begin(connection, name, turn=min(TURN_SECONDS, deadline - time.monotonic())):
            if time.monotonic() >= deadline:
                raise busy(name, patience)
    finally:
        connection.execute(f"PRAGMA busy_timeout={READER_PATIENCE_MS}").close()


def _try_to_begin(connection: sqlite3.Connection, name: str, turn: float) -> bool:
    """Returns whether the lock was free within ``turn`` seconds."""
    connection.execute(f"PRAGMA busy_timeout={max(0, int(turn * 1000))}").close()
    try:
        # Only changes a new database, or one that was copied by VACUUM INTO.
        connection.execute("PRAGMA journal_mode=WAL").close()
        connection.execute("BEGIN IMMEDIATE").close()
    except sqlite3.OperationalError as error:
        # The primary code is in the low byte.
        match error.sqlite_errorcode & 0xFF:
            case sqlite3.SQLITE_BUSY:
                return False
            case sqlite3.SQLITE_READONLY:
                raise read_only(name) from error
            case _:
                raise
    return True


@contextmanager
def indexed_at_once(connection: Connection, table: str) -> Iterator[None]:
    """Rows that are added to a table meanwhile get into its full-text index at the end, in one statement.

    A trigger would write the index anew for each row. It is put aside inside the transaction: nobody else sees that,
    and a transaction that ends before its time brings it back.

    Args:
        connection: A connection that writes.
        table: The table; one without such an index is filled as always.
    """
    (kept,) = connection.exec_driver_sql("PRAGMA cache_size").one()
    connection.exec_driver_sql(f"PRAGMA cache_size=-{BULK_CACHE_KIB}")
    try:
        if (trigger := _triggers(connection).get(f"{table}_added")) is None:
            yield
        else:
            with _without(connection, table, trigger[1]):
                yield
    finally:
        connection.exec_driver_sql(f"PRAGMA cache_size={kept}")


@contextmanager
def _without(connection: Connection, table: str, trigger: str) -> Iterator[None]:
    """Drops the trigger that adds a table's new rows to its index, and catches up in the end, even after an error."""
    index = f"{table}_index"
    before = connection.exec_driver_sql(f"SELECT coalesce(max(id), 0) FROM {table}").scalar_one()
    connection.exec_driver_sql(f"DROP TRIGGER {table}_added")
    try:
        yield
    finally:
        columns = ", ".join(row.name for row in connection.exec_driver_sql(f"PRAGMA table_info({index})"))
        new = f"SELECT id, {columns} FROM {table} WHERE id > ? ORDER BY id"
        connection.exec_driver_sql(f"INSERT INTO {index} (rowid, {columns}) {new}", (before,))
        connection.exec_driver_sql(trigger)


def _dangling(connection: Connection) -> Counter[tuple[str, str]]:
    """Number of rows that refer to a missing one, by their table and the table that they refer to."""
    rows = connection.exec_driver_sql("PRAGMA foreign_key_check").all()
    return Counter((table, parent) for table, _, parent, _ in rows)


def _check_lost(lost: Counter[tuple[str, str]]) -> None:
    if lost:
        (table, parent), count = lost.most_common(1)[0]
        raise StoreError(f"the upgrade would leave {count} rows of {table} without their row of {parent}; it is undone")


def _triggers(connection: Connection) -> dict[str, tuple[str, str]]:
    """Table and SQL of every trigger, by name. Triggers keep the search indexes in step with their tables."""
    rows = connection.exec_driver_sql("SELECT name, tbl_name, sql FROM sqlite_master WHERE type = 'trigger'")
    return {name: (table, sql) for name, table, sql in rows}


def _indexes_of_expressions(connection: Connection) -> dict[str, tuple[str, str]]:
    """Table and SQL of every index that has an expression, by name."""
    rows = connection.exec_driver_sql(
        "SELECT DISTINCT i.name, i.tbl_name, i.sql FROM sqlite_master AS i, pragma_index_xinfo(i.name) AS part"
        " WHERE i.type = 'index' AND part.cid = -2"
    )
    return {name: (table, sql) for name, table, sql in rows}


def _restore(connection: Connection, dropped: dict[str, tuple[str, str]]) -> None:
    """Creates those of the triggers and indexes again that were dropped with a table which is still there."""
    for name, (table, sql) in dropped.items():
        if not _has(connection, name) and _has(connection, table):
            connection.exec_driver_sql(sql)


def _has(connection: Connection, name: str) -> bool:
    """Whether there is a table, a trigger or an index of this name."""
    return bool(connection.exec_driver_sql("SELECT count(*) FROM sqlite_master WHERE name = ?", (name,)).scalar())
