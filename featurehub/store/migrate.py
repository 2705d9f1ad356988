"""Brings a database to the schema of this version, once, however many processes open it together.

1. To find out its schema, the database is only read. One that is up to date is not locked, and may be read-only.
2. A revision that this version does not know was written by a newer one: it is refused, and nothing is changed.
3. Otherwise the write lock is taken, so that a second process waits and then finds nothing to do. Alembic upgrades in
   that one transaction: it succeeds as a whole, or the database stays as it was.
"""

from pathlib import Path
from threading import Lock

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

from featurehub.errors import InvalidConfig, StoreReadOnly
from featurehub.store.database import Database

__all__ = ["migrate"]

FOLDER = Path(__file__).parent / "migrations"
# Alembic's `context` is a module-wide proxy, so threads of one process take turns.
_ALEMBIC = Lock()


def migrate(database: Database, patience: float) -> None:
    """Creates or upgrades the tables where that is needed.

    Args:
        database: The database.
        patience: Seconds to wait for another writer.

    Raises:
        InvalidConfig: The database was written by a newer version.
        StoreBusy: The schema is an older one, and another process kept writing.
        StoreReadOnly: The schema is an older one, and the database can only be read.
        StoreError: An upgrade would lose rows.
    """
    scripts = ScriptDirectory(str(FOLDER))
    with database.reading().connect() as connection:
        if _is_current(connection, scripts, database.name):
            return
    try:
        with _ALEMBIC, database.upgrading(patience) as connection:
            if not _is_current(connection, scripts, database.name):
                _upgrade(database, connection, scripts)
    except StoreReadOnly as error:
        raise StoreReadOnly(
            f"the feature database {database.name} was written by an older featurehub, or by none, and may only be "
            "read, so it cannot be upgraded; open it as somebody who may write it, or a copy that you may write"
        ) from error


def _is_current(connection: Connection, scripts: ScriptDirectory, name: str) -> bool:
    current = MigrationContext.configure(connection).get_current_revision()
    if current is not None and current not in {script.revision for script in scripts.walk_revisions()}:
        raise InvalidConfig(
            f"the database {name!r} was written by a newer featurehub (schema {current}); "
            "upgrade featurehub or open another database"
        )
    return current == scripts.get_current_head()


def _upgrade(database: Database, connection: Connection, scripts: ScriptDirectory) -> None:
    """Runs the migrations one by one, inside the connection's transaction."""
    current = MigrationContext.configure(connection).get_current_revision()
    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", str(FOLDER).replace("%", "%%"))
    for script in reversed(list(scripts.iterate_revisions("head", current or "base"))):
        with database.revising(connection):
            command.upgrade(config, script.revision)
