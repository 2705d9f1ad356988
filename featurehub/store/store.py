"""Opens the feature database and hands out readers and writers."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, DatabaseError
from sqlalchemy.orm import Session

from featurehub.errors import InvalidConfig
from featurehub.store.migrate import migrate
from featurehub.store.reader import Reader
from featurehub.store.writer import Writer

__all__ = ["Store", "open_store"]

BUSY_TIMEOUT_MS = 30_000


class Store:
    """An open feature database. Threads may share it; each ``read`` and ``write`` has its own connection."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._writing = engine.execution_options(writing=True)

    @property
    def url(self) -> str:
        """Where the database is, without its password."""
        return self._engine.url.render_as_string(hide_password=True)

    @contextmanager
    def read(self) -> Iterator[Reader]:
        """One consistent snapshot."""
        with Session(self._engine, autoflush=False) as session:
            yield Reader(session)

    @contextmanager
    def write(self) -> Iterator[Writer]:
        """One transaction: committed at the end, rolled back on any error. Writers take turns."""
        with Session(self._writing, expire_on_commit=False) as session, session.begin():
            yield Writer(session)

    def close(self) -> None:
        """Gives all connections back."""
        self._engine.dispose()


def open_store(location: str | Path) -> Store:
    """The database at a path (SQLite, created with its folder where missing) or an SQLAlchemy URL, migrated.

    Raises InvalidConfig where it cannot be opened, is no database, or was written by a newer version.
    """
    engine = _engine(location)
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _configure_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
    store = Store(engine)
    try:
        migrate(store._writing)
    except DatabaseError as error:
        store.close()
        raise InvalidConfig(f"cannot open the feature database {store.url}: {error.orig}") from error
    except InvalidConfig:
        store.close()
        raise
    return store


def _engine(location: str | Path) -> Engine:
    try:
        return create_engine(_url(location))
    except (ArgumentError, ModuleNotFoundError) as error:
        raise InvalidConfig(f"{str(location)!r} is neither a path nor the URL of a database: {error}") from error
    except OSError as error:
        raise InvalidConfig(f"cannot make the folder of the feature database {str(location)!r}: {error}") from error


def _url(location: str | Path) -> URL:
    if isinstance(location, Path) or "://" not in location:
        path = Path(location).expanduser()
        path.parent.mkdir(parents=True, exist_ok=True)
        return URL.create("sqlite", database=str(path))
    url = make_url(location)
    if url.get_backend_name() == "sqlite" and url.database in (None, "", ":memory:"):
        raise InvalidConfig("the feature database needs a file: every connection would see its own memory")
    return url


def _configure_sqlite(connection: Any, _record: object) -> None:
    # The driver would begin transactions only before writing; `_begin_sqlite` does it, so that reads are snapshots.
    connection.isolation_level = None
    for pragma in (f"busy_timeout={BUSY_TIMEOUT_MS}", "journal_mode=WAL", "foreign_keys=ON", "synchronous=NORMAL"):
        connection.execute(f"PRAGMA {pragma}").close()


def _begin_sqlite(connection: Connection) -> None:
    # A writer takes the lock at once: upgrading a read lock later fails where two try, whatever the timeout.
    writing = connection.get_execution_options().get("writing", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writing else "BEGIN")
