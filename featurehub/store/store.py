"""Opens the feature database and hands out readers and writers."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy.exc import DatabaseError
from sqlalchemy.orm import Session

from featurehub.errors import FeaturehubError, InvalidConfig
from featurehub.store.database import Database
from featurehub.store.location import database_at
from featurehub.store.migrate import migrate
from featurehub.store.reader import Reader
from featurehub.store.sqlite import SqliteDatabase, source_of
from featurehub.store.writer import Writer

__all__ = ["Store", "check_writable", "has_store", "open_store"]

PATIENCE = 30.0


class Store:
    """An open feature database. Threads may share it; each ``read`` and ``write`` has its own connection."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._engine = database.engine

    @property
    def name(self) -> str:
        """What messages call it: a path, or a URL without its password. ``open_store`` opens it again."""
        return self._database.name

    @contextmanager
    def read(self) -> Iterator[Reader]:
        """Opens one consistent snapshot. A reader never waits for a writer, nor a writer for it.

        Yields:
            The reader.

        Raises:
            StoreUnavailable: The database's server cannot be reached.
        """
        # Committed: after a ROLLBACK, psycopg lets go of all statements that it has prepared.
        with Session(self._database.reading(), autoflush=False) as session, session.begin():
            yield Reader(session)

    @contextmanager
    def write(self, patience: float = PATIENCE) -> Iterator[Writer]:
        """Opens one transaction: committed at the end, rolled back on any error. Writers take turns.

        Args:
            patience: Seconds to wait for another writer.

        Yields:
            The writer.

        Raises:
            StoreBusy: Another process wrote for all that time.
            StoreReadOnly: The database can only be read.
            StoreUnavailable: The database's server cannot be reached.
        """
        with Session(self._database.writing(patience), expire_on_commit=False) as session, session.begin():
            session.connection()
            yield Writer(session)

    def close(self) -> None:
        """Closes all connections."""
        self._engine.dispose()


def open_store(location: str | Path) -> Store:
    """Opens a feature database and brings it to this version's schema.

    One that is up to date is only read; a missing file is created, with its folder. A database on a server must be
    there, and may be empty.

    Args:
        location: A path, ``sqlite:///`` and a path, or ``postgresql://user@host/database``.

    Raises:
        InvalidConfig: It cannot be opened, is not a feature database, or was written by a newer version.
        StoreBusy: It has an older schema, and another process kept writing to it.
        StoreReadOnly: It has an older schema, and can only be read.
        StoreUnavailable: Its server cannot be reached.
    """
    database = database_at(location)
    try:
        migrate(database, PATIENCE)
    except (DatabaseError, sqlite3.DatabaseError) as error:
        database.engine.dispose()
        raise InvalidConfig(_cannot_open(database, getattr(error, "orig", error))) from error
    except FeaturehubError:
        database.engine.dispose()
        raise
    return Store(database)


def has_store(location: str | Path) -> bool:
    """Whether a database is there; ``open_store`` makes a missing file. What lies on a server counts as there."""
    return database_at(location).exists()


def check_writable(location: str | Path) -> None:
    """Checks that a database can be written, for a long run that writes at its end.

    Another process that writes at this moment does not matter.

    Raises:
        InvalidConfig: The database cannot be opened.
        StoreReadOnly: It can only be read.
        StoreUnavailable: Its server cannot be reached.
    """
    database = database_at(location)
    try:
        if database.exists():
            open_store(location).close()
        database.check_writable()
    finally:
        database.engine.dispose()


def _cannot_open(database: Database, error: Any) -> str:
    words = f"cannot open the feature database {database.name}: {error}"
    if not isinstance(database, SqliteDatabase) or source_of(database.path).writable:
        return words
    return (
        f"{words}. It may only be read, and its latest changes lie in {database.path.name}-wal, which needs more than "
        "that: open it once as somebody who may write it (any featurehub command will do), or copy it with both files"
    )
