"""How the database file is opened and locked.

1. If the file and its folder can be written, SQLite opens it as usual: readers and one writer side by side (WAL).
2. If not, SQLite cannot create the files beside it (``-wal``, ``-shm``) that such a database is read through. If none
   of them is there, no process has it open, and the file is read as one that does not change.
3. If they are there, they hold changes that the file itself does not have yet: they are read too, or opening fails. The
   file alone, which would be an older state, is never read instead.
4. A writer takes the lock when its transaction begins, so that two never wait for each other. It waits in short turns,
   between which it can be interrupted.
"""

import os
import sqlite3
import time
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

from featurehub.errors import StoreBusy, StoreReadOnly

__all__ = ["DatabaseFile", "begin_writing", "connect", "read_only", "source_of"]

READER_PATIENCE_MS = 5_000
"""How long a reader waits while another process recovers or creates the database; it never waits for a writer."""
TURN_SECONDS = 1.0
BESIDE = ("-wal", "-shm", "-journal")


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


def read_only(name: str) -> StoreReadOnly:
    """The error for a database that can only be read."""
    return StoreReadOnly(
        f"the feature database {name} may only be read; give --db a file in a folder that you may write"
    )


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
                raise StoreBusy(
                    f"another process has been writing to the feature database {name} for {patience:.0f} s; "
                    "wait until it is done, or end it, and try again"
                )
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
