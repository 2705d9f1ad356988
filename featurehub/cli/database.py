"""`featurehub db …`: backups of the feature database, and the move to another one."""

from contextlib import closing
from typing import Annotated

import typer

from featurehub.cli.options import DATABASE, Database, database_path, same_database
from featurehub.cli.progress import output, suggest, work

__all__ = ["db_app"]

db_app = typer.Typer(no_args_is_help=True, help="Backups of the feature database, and its move to PostgreSQL and back.")

Backup = Annotated[str, typer.Argument(metavar="FILE", help="The backup: an SQLite file, a feature database itself.")]


@db_app.command()
def backup(file: Backup, db: Database = "") -> None:
    """Copy the database into a new file, while others go on using it."""
    copy(db or database_path(), file, "backing up")
    suggest("Bring it back into an empty database", "featurehub", "db", "restore", file, *same_database(db))


@db_app.command()
def restore(file: Backup, db: Database = "") -> None:
    """Fill an empty database from a backup."""
    copy(file, db or database_path(), "restoring")


@db_app.command()
def move(
    source: Annotated[str, typer.Argument(metavar="FROM", help=f"The database to read: {DATABASE}")],
    target: Annotated[str, typer.Argument(metavar="TO", help=f"An empty one: {DATABASE}")],
) -> None:
    """Copy a database into an empty one of any kind. The old one stays; run it again if it was interrupted."""
    copy(source, target, "moving")


def copy(source: str, target: str, doing: str) -> None:
    """Copies a database into an empty one, and shows how far it is.

    Raises:
        InvalidInput: There is no source, or the target is not empty.
        StoreError: The target cannot be written.
    """
    from featurehub.errors import InvalidInput
    from featurehub.store import copy_store, count_rows, has_store, open_store

    if not has_store(source):
        raise InvalidInput(f"there is no feature database {source}; give one that exists", param="from")
    with closing(open_store(source)) as old, closing(open_store(target)) as new:
        with work(doing, count_rows(old), "rows") as copied:
            count = copy_store(old, new, copied)
        output.print(f"{count:,} rows of {old.name} are in {new.name}.", soft_wrap=True)
