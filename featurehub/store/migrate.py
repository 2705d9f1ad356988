"""Brings a database to the schema of this version, once, however many processes open it together.

1. A write transaction is the lock: ``BEGIN IMMEDIATE`` on SQLite, an advisory lock on PostgreSQL. Who comes second
   waits, then finds nothing to do.
2. A revision that this version does not know was written by a newer one: refused, nothing is touched.
3. Otherwise Alembic upgrades to the newest revision inside that transaction.
"""

from pathlib import Path
from threading import Lock

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, func, select

from featurehub.errors import InvalidConfig

__all__ = ["migrate"]

FOLDER = Path(__file__).parent / "migrations"
ADVISORY_LOCK = 0x6665617475
# Alembic's `context` is a module-wide proxy, so threads of one process take turns too.
_ALEMBIC = Lock()


def migrate(writing: Engine) -> None:
    """Creates or upgrades the tables. Raises InvalidConfig for a database of a newer version."""
    with _ALEMBIC, writing.begin() as connection:
        if connection.dialect.name == "postgresql":
            connection.execute(select(func.pg_advisory_xact_lock(ADVISORY_LOCK)))
        _upgrade(connection)


def _upgrade(connection: Connection) -> None:
    config = Config()
    config.set_main_option("script_location", str(FOLDER).replace("%", "%%"))
    config.attributes["connection"] = connection
    scripts = ScriptDirectory.from_config(config)
    current = MigrationContext.configure(connection).get_current_revision()
    if current == scripts.get_current_head():
        return
    if current is not None and current not in {script.revision for script in scripts.walk_revisions()}:
        raise InvalidConfig(
            f"the database {connection.engine.url.database!r} was written by a newer featurehub (schema {current}); "
            "upgrade featurehub or open another database"
        )
    command.upgrade(config, "head")
