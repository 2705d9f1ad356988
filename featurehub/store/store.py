"""Opens the feature database and hands out readers and writers."""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, DatabaseError
from sqlalchemy.orm import Session

from featurehub.errors import FeaturehubError, InvalidConfig
from featurehub.store.connection import begin_writing, connect, read_only, source_of
from featurehub.store.migrate import migrate
from featurehub.store.reader import Reader
from featurehub.store.writer import Writer

__all__ = ["Store", "check_writable", "open_store"]

PATIENCE = 30.0


class Store:
    """An open feature database. Threads may share it; each ``read`` and ``write`` has its own connection.

    Attributes:
        path: The SQLite file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._source = source_of(path)
        # The URL only selects SQLAlchemy's pool for files; ``connect`` decides what is opened.
        url = URL.create("sqlite", database=str(path))
        self._engine = create_engine(url, creator=lambda: connect(self._source))
        event.listen(self._engine, "begin", self._begin)

    @contextmanager
    def read(self) -> Iterator[Reader]:
        """Opens one consistent snapshot. A reader never waits for a writer, nor a writer for it.

        Yields:
            The reader.
        """
        self._look_again()
        with Session(self._engine, autoflush=False) as session:
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
            StoreReadOnly: The file or its folder cannot be written.
        """
        self._look_again()
        if not self._source.writable:
            raise read_only(str(self.path))
        engine = self._engine.execution_options(patience=patience)
        with Session(engine, expire_on_commit=False) as session, session.begin():
            session.connection()
            yield Writer(session)

    def close(self) -> None:
        """Closes all connections."""
        self._engine.dispose()

    def _begin(self, connection: Connection) -> None:
        raw = connection.connection.driver_connection
        assert isinstance(raw, sqlite3.Connection)
        patience: float | None = connection.get_execution_options().get("patience")
        if patience is None:
            raw.execute("BEGIN").close()
        else:
            begin_writing(raw, str(self.path), patience)

    def _look_again(self) -> None:
        """Reopens a file that was assumed not to change, if another process has changed it."""
        if not self._source.writable and (now := source_of(self.path)) != self._source:
            self._source = now
            self._engine.dispose()


def open_store(location: str | Path) -> Store:
    """Opens the feature database in an SQLite file and brings it to this version's schema.

    A file that is up to date is only read; a missing one is created, with its folder.

    Args:
        location: A path, or ``sqlite:///`` and a path.

    Raises:
        InvalidConfig: It cannot be opened, is not a feature database, or was written by a newer version.
        StoreBusy: It has an older schema, and another process kept writing to it.
        StoreReadOnly: It has an older schema, and can only be read.
    """
    path = _path(location)
    store = Store(path)
    try:
        migrate(store._engine, path, PATIENCE)
    except (DatabaseError, sqlite3.DatabaseError) as error:
        store.close()
        raise InvalidConfig(_cannot_open(path, getattr(error, "orig", error))) from error
    except FeaturehubError:
        store.close()
        raise
    return store


def check_writable(location: str | Path) -> None:
    """Checks that a database can be written, for a long run that writes at its end.

    Another process that writes at this moment does not matter.

    Raises:
        InvalidConfig: The database cannot be opened.
        StoreReadOnly: It can only be read.
    """
    path = _path(location)
    if not path.exists():
        if not os.access(path.parent, os.W_OK):
            raise read_only(str(path))
        return
    with closing(open_store(path)) as store:
        if not source_of(store.path).writable:
            raise read_only(str(store.path))


def _path(location: str | Path) -> Path:
    path = Path(location if isinstance(location, Path) or "://" not in location else _of_url(location)).expanduser()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InvalidConfig(f"cannot make the folder of the feature database {str(location)!r}: {error}") from error
    return path


def _of_url(location: str) -> str:
    try:
        url = make_url(location)
    except ArgumentError as error:
        raise InvalidConfig(f"{location!r} is neither a path nor a URL: {error}") from error
    if url.get_backend_name() != "sqlite" or url.query:
        raise InvalidConfig(f"the feature database is an SQLite file, and {location!r} is not one; give its path")
    if url.database in (None, "", ":memory:"):
        raise InvalidConfig("the feature database needs a file: every connection would see its own memory")
    return url.database


def _cannot_open(path: Path, error: Any) -> str:
    words = f"cannot open the feature database {path}: {error}"
    if source_of(path).writable:
        return words
    return (
        f"{words}. It may only be read, and its latest changes lie in {path.name}-wal, which needs more than that: "
        "open it once as somebody who may write it (any featurehub command will do), or copy it with both files"
    )
