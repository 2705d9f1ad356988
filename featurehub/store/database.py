"""What the store asks of a database, be it an SQLite file or a database on a PostgreSQL server.

Only this much differs between the two, and how words (``candidates``) and vectors (``nearest``) are found: ``sqlite``
and ``postgres`` each say how theirs is opened, read as one snapshot, locked for a writer, and upgraded. Tables and
queries are the same.
"""

from contextlib import AbstractContextManager
from typing import Protocol

from sqlalchemy import Connection, Engine

from featurehub.errors import StoreBusy, StoreReadOnly

__all__ = ["Database", "busy", "read_only"]


class Database(Protocol):
    """One feature database.

    Attributes:
        name: What messages call it: a path, or a URL without its password.
        engine: Its connections.
    """

    name: str
    engine: Engine

    def reading(self) -> Engine:
        """Connections whose transactions are consistent snapshots."""
        ...

    def writing(self, patience: float) -> Engine:
        """Connections whose transactions hold the write lock from their beginning, so that writers take turns.

        Args:
            patience: Seconds to wait for another writer. After them, the transaction does not begin: StoreBusy.

        Raises:
            StoreReadOnly: The database can only be read.
        """
        ...

    def upgrading(self, patience: float) -> AbstractContextManager[Connection]:
        """One transaction in which tables may be changed and rows may not be lost.

        Args:
            patience: Seconds to wait for another writer.

        Raises:
            StoreBusy: Another process wrote for all that time.
            StoreReadOnly: The database can only be read.
            StoreError: A row that others refer to was lost; everything is undone.
        """
        ...

    def revising(self, connection: Connection) -> AbstractContextManager[None]:
        """What one revision of the schema runs in, inside ``upgrading``: it keeps the search indexes up to date."""
        ...

    def exists(self) -> bool:
        """Whether the database is there; one that is not is made where it is opened."""
        ...

    def check_writable(self) -> None:
        """Checks that it can be written, or made. Raises StoreReadOnly where it cannot."""
        ...


def busy(name: str, patience: float) -> StoreBusy:
    """The error for a database that another process has been writing to for ``patience`` seconds."""
    return StoreBusy(
        f"another process has been writing to the feature database {name} for {patience:.0f} s; "
        "wait until it is done, or end it, and try again"
    )


def read_only(name: str) -> StoreReadOnly:
    """The error for a database that can only be read."""
    return StoreReadOnly(
        f"the feature database {name} may only be read; give --db a file in a folder that you may write, "
        "or a database whose tables you may write"
    )
