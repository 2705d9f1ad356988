"""How a database on a PostgreSQL server is opened, locked and upgraded.

1. A reader's transaction is REPEATABLE READ and READ ONLY: all its queries see the database as its first one did.
2. A writer takes an advisory lock as its transaction begins, one per database, and gives it back as the transaction
   ends or its connection is lost. So writers take turns, as SQLite's do. Without it, two of them could both number a
   label's next version, or both take over the default of a model, and one would fail at a constraint and lose its work.
   The transaction is READ COMMITTED: a snapshot that began before the lock was taken would not see what the writer
   before has just committed.
3. What the server or the connection reports becomes an error of ours, in one place.
4. NUL, which PostgreSQL's texts cannot hold, is written as U+FFFD. No name has one (``featurehub.names.fold``).
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import psycopg
from psycopg.abc import Buffer
from psycopg.types.string import StrDumperUnknown
from sqlalchemy import URL, Connection, Engine, ExceptionContext, create_engine, event
from sqlalchemy.exc import DBAPIError

from featurehub.errors import FeaturehubError, StoreUnavailable
from featurehub.store.database import busy, read_only
from featurehub.store.location import shown

__all__ = ["PostgresDatabase", "copy_rows"]

WRITE_LOCK = 0x6665_6174_6875_62
"""Key of the advisory lock: "feathub" in ASCII. The server keeps such locks apart for each database."""
CONNECT_SECONDS = "10"
"""How long a server may take to answer, where the URL does not say."""
BEGIN_WRITING = f"SELECT pg_advisory_xact_lock({WRITE_LOCK}), current_setting('transaction_read_only') = 'on'"
MAY_WRITE = """
    SELECT current_setting('transaction_read_only') = 'off'
        AND coalesce(has_table_privilege(to_regclass('artifacts'), 'INSERT'), true)
"""
BUSY = ("55P03",)
READ_ONLY = ("25006", "42501")
SETTINGS = """
    SET jit = off; SET synchronize_seqscans = off; SET plan_cache_mode = force_generic_plan;
    SET hnsw.ef_search = 200; SET hnsw.iterative_scan = strict_order
"""
"""For short queries, each planned once for a connection. The index keeps twice as many vectors in view as a search of
``meaning`` asks for: of the ten nearest of a million it finds .93 so, and .85 with as many as are asked for."""
GONE = ("08", "57P", "53300")
"""Beginnings of codes (SQLSTATE): connection lost, server shut down, too many connections."""


class PostgresDatabase:
    """The ``Database`` on a PostgreSQL server.

    Attributes:
        name: Its URL without a password.
        engine: Its connections.
    """

    def __init__(self, url: URL) -> None:
        self.name = shown(url)
        if "connect_timeout" not in url.query:
            url = url.update_query_dict({"connect_timeout": CONNECT_SECONDS})
        # A connection is tried before it is used: the server may have been started anew since.
        # No thread waits for another's connection: those that wait to write would keep readers from reading.
        self.engine = create_engine(url.set(drivername="postgresql+psycopg"), pool_pre_ping=True, max_overflow=-1)
        event.listen(self.engine, "connect", _prepare)
        event.listen(self.engine, "begin", self._begin)
        event.listen(self.engine, "handle_error", self._translate, retval=True)
        self._reading = self.engine.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)

    def reading(self) -> Engine:
        """Connections whose transactions are consistent snapshots."""
        return self._reading

    def writing(self, patience: float) -> Engine:
        """Connections whose transactions hold the write lock."""
        return self.engine.execution_options(patience=patience)

    @contextmanager
    def upgrading(self, patience: float) -> Iterator[Connection]:
        """A transaction that holds the write lock; it waits as long for each table that somebody still reads."""
        with self.writing(patience).begin() as connection:
            yield connection

    def revising(self, connection: Connection) -> AbstractContextManager[None]:
        """Nothing more: the server keeps its indexes itself."""
        return nullcontext()

    def exists(self) -> bool:
        """True: where it is not, no connection can be opened, which says so."""
        return True

    def check_writable(self) -> None:
        """Raises StoreReadOnly where the server, the database or the user's rights allow reading only."""
        with self.engine.connect() as connection:
            if not connection.exec_driver_sql(MAY_WRITE).scalar_one():
                raise read_only(self.name)

    def _begin(self, connection: Connection) -> None:
        patience: float | None = connection.get_execution_options().get("patience")
        if patience is None:
            return
        connection.exec_driver_sql(f"SET LOCAL lock_timeout = {max(1, int(patience * 1000))}")
        _, is_read_only = connection.exec_driver_sql(BEGIN_WRITING).one()
        if is_read_only:
            raise read_only(self.name)

    def _translate(self, context: ExceptionContext) -> Exception | None:
        error = context.original_exception
        # A connection that is tried before it is used may be lost: it is replaced, and that is no error.
        if not isinstance(error, psycopg.Error) or context.is_pre_ping:
            return None
        options = {} if context.connection is None else context.connection.get_execution_options()
        return _ours(error, self.name, options.get("patience", 0.0))


def copy_rows(connection: Connection, statement: str, rows: Iterable[Sequence[Any]]) -> int:
    """Sends rows to ``COPY … FROM STDIN``, which takes them several times as fast as single statements.

    Returns:
        How many rows there were.

    Raises:
        StoreUnavailable: The server cannot be reached any more.
        DBAPIError: It refused a row, as SQLAlchemy reports it of other statements.
    """
    driver = connection.connection.driver_connection
    assert isinstance(driver, psycopg.Connection)
    try:
        with driver.cursor() as cursor:
            with cursor.copy(statement.encode()) as copy:
                for row in rows:
                    copy.write_row(row)
            return cursor.rowcount
    except psycopg.Error as error:
        ours = _ours(error, shown(connection.engine.url))
        raise ours or DBAPIError.instance(statement, None, error, psycopg.Error, dialect=connection.dialect) from error


def _ours(error: psycopg.Error, name: str, patience: float = 0.0) -> FeaturehubError | None:
    """The error of ours that a driver's error means; None where it is none of these."""
    if error.sqlstate in BUSY:
        return busy(name, patience)
    if error.sqlstate in READ_ONLY:
        return read_only(name)
    # What fails on this side of the connection has no code.
    lost = isinstance(error, psycopg.OperationalError) and not error.sqlstate
    if not lost and not (error.sqlstate or "").startswith(GONE):
        return None
    return StoreUnavailable(
        f"the feature database {name} cannot be reached: {' '.join(str(error).split())}. What was being written is "
        "undone. Check that the server runs and that this user may connect (a password may be given in PGPASSWORD), "
        "and try again"
    )


class Dumper(StrDumperUnknown):
    """Writes texts without NUL."""

    def dump(self, obj: str) -> Buffer | None:
        """The text as the server takes it."""
        return super().dump(obj.replace("\0", "\N{REPLACEMENT CHARACTER}"))


def _prepare(connection: "psycopg.Connection[object]", _: object) -> None:
    connection.adapters.register_dumper(str, Dumper)
    connection.execute(SETTINGS)
    connection.commit()
