"""Brings a database to the schema of this version, once, however many processes open it together.

1. To find out its schema, the database is only read. One that is up to date is not locked, and may be read-only.
2. A revision that this version does not know was written by a newer one: it is refused, and nothing is changed.
3. Otherwise the write lock is taken, so that a second process waits and then finds nothing to do. Alembic upgrades in
   that one transaction: it succeeds as a whole, or the file stays as it was.
4. Foreign keys are off meanwhile: to change a column, Alembic copies the table and drops the old one, which would
   delete all rows that refer to it. They are checked at the end instead, and triggers that were dropped with a table
   are created again.
"""

import sqlite3
from collections import Counter
from pathlib import Path
from threading import Lock

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, NullPool, create_engine, event

from featurehub.errors import InvalidConfig, StoreError, StoreReadOnly
from featurehub.store.connection import begin_writing, connect, source_of

__all__ = ["migrate"]

FOLDER = Path(__file__).parent / "migrations"
# Alembic's `context` is a module-wide proxy, so threads of one process take turns.
_ALEMBIC = Lock()


def migrate(reading: Engine, path: Path, patience: float) -> None:
    """Creates or upgrades the tables where that is needed.

    Args:
        reading: Engine of the database at ``path``.
        path: The SQLite file.
        patience: Seconds to wait for another writer.

    Raises:
        InvalidConfig: The database was written by a newer version.
        StoreBusy: The schema is an older one, and another process kept writing.
        StoreReadOnly: The schema is an older one, and the file cannot be written.
        StoreError: An upgrade would lose rows.
    """
    scripts = ScriptDirectory(str(FOLDER))
    with reading.connect() as connection:
        if _is_current(connection, scripts, path):
            return
    if not source_of(path).writable:
        raise StoreReadOnly(
            f"the feature database {path} was written by an older featurehub and may only be read, so it cannot be "
            "upgraded; open a copy in a folder that you may write"
        )
    upgrading = _upgrading(path, patience)
    with _ALEMBIC, upgrading.begin() as connection:
        if not _is_current(connection, scripts, path):
            upgrade(connection)
    upgrading.dispose()


def _is_current(connection: Connection, scripts: ScriptDirectory, path: Path) -> bool:
    current = MigrationContext.configure(connection).get_current_revision()
    if current is not None and current not in {script.revision for script in scripts.walk_revisions()}:
        raise InvalidConfig(
            f"the database {str(path)!r} was written by a newer featurehub (schema {current}); "
            "upgrade featurehub or open another database"
        )
    return current == scripts.get_current_head()


def _upgrading(path: Path, patience: float) -> Engine:
    """An engine whose transactions hold the write lock, without foreign keys."""
    engine = create_engine(
        "sqlite://", creator=lambda: connect(source_of(path), foreign_keys=False), poolclass=NullPool
    )

    def begin(connection: Connection) -> None:
        raw = connection.connection.driver_connection
        assert isinstance(raw, sqlite3.Connection)
        begin_writing(raw, str(path), patience)

    event.listen(engine, "begin", begin)
    return engine


def upgrade(connection: Connection) -> None:
    """Runs the migrations inside the connection's transaction. Raises StoreError where one lost rows."""
    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", str(FOLDER).replace("%", "%%"))
    dangling, triggers = _dangling(connection), _triggers(connection)
    command.upgrade(config, "head")
    for name, (table, sql) in triggers.items():
        if name not in _triggers(connection) and _has_table(connection, table):
            connection.exec_driver_sql(sql)
    if lost := _dangling(connection) - dangling:
        (table, parent), count = lost.most_common(1)[0]
        raise StoreError(f"the upgrade would leave {count} rows of {table} without their row of {parent}; it is undone")


def _dangling(connection: Connection) -> Counter[tuple[str, str]]:
    """Number of rows that refer to a missing one, by their table and the table that they refer to."""
    rows = connection.exec_driver_sql("PRAGMA foreign_key_check").all()
    return Counter((table, parent) for table, _, parent, _ in rows)


def _triggers(connection: Connection) -> dict[str, tuple[str, str]]:
    """Table and SQL of every trigger, by name. Triggers keep the search indexes in step with their tables."""
    rows = connection.exec_driver_sql("SELECT name, tbl_name, sql FROM sqlite_master WHERE type = 'trigger'")
    return {name: (table, sql) for name, table, sql in rows}


def _has_table(connection: Connection, table: str) -> bool:
    query = "SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name = ?"
    return bool(connection.exec_driver_sql(query, (table,)).scalar())
