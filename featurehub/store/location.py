"""Where a feature database lies: a path, ``sqlite:///`` and a path, or ``postgresql://user@host/database``."""

from importlib.util import find_spec
from pathlib import Path

from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from featurehub.errors import InvalidConfig
from featurehub.store.database import Database
from featurehub.store.sqlite import SqliteDatabase

__all__ = ["database_at", "part_password", "shown"]

SERVERS = ("postgresql", "postgres")
SECRETS = ("password", "sslpassword")
"""What a URL's query must not show."""


def database_at(location: str | Path) -> Database:
    """The database at a location; nothing is opened yet, but the folder of a file is made.

    Args:
        location: A path, or a URL. What a PostgreSQL URL does not say comes from the environment (``PGPASSWORD``,
            ``PGHOST``, …) and from ``~/.pgpass``, as for every program of PostgreSQL's.

    Raises:
        InvalidConfig: It is neither a path nor such a URL, the folder cannot be made, or the driver is not installed.
    """
    if isinstance(location, Path) or "://" not in location:
        return SqliteDatabase(_in_folder(Path(location)))
    url = _url(location)
    if url.drivername.partition("+")[0] in SERVERS:
        return _on_server(url)
    return SqliteDatabase(_in_folder(Path(_file(url))))


def part_password(location: str) -> tuple[str, str]:
    """A location without its password, and the password; "" where it has none.

    Raises:
        InvalidConfig: It looks like a URL and is none.
    """
    if "://" not in location or not (password := _password(url := _url(location))):
        return location, ""
    return shown(url), password


def shown(url: URL) -> str:
    """The URL as messages may show it."""
    # Not `set`, which takes None for "as it was".
    return url._replace(password=None).difference_update_query(SECRETS).render_as_string(hide_password=False)


def _password(url: URL) -> str:
    in_query = url.query.get("password", "")
    return url.password or (in_query if isinstance(in_query, str) else in_query[-1])


def _on_server(url: URL) -> Database:
    if find_spec("psycopg") is None:
        raise InvalidConfig("PostgreSQL needs a driver that is not installed: pip install 'featurehub[postgres]'")
    from featurehub.store.postgres import PostgresDatabase

    return PostgresDatabase(url)


def _in_folder(path: Path) -> Path:
    path = path.expanduser()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InvalidConfig(f"cannot make the folder of the feature database {str(path)!r}: {error}") from error
    return path


def _url(location: str) -> URL:
    """The parsed URL. Of one that cannot be parsed, only the scheme is shown: the rest may hold a password."""
    try:
        return make_url(location)
    except (ArgumentError, ValueError):
        scheme = location.partition("://")[0]
        raise InvalidConfig(
            f"the location {scheme!r}://… is neither a path nor a URL such as postgresql://user@host:5432/database"
        ) from None


def _file(url: URL) -> str:
    if url.get_backend_name() != "sqlite" or url.query:
        raise InvalidConfig(
            "the feature database is an SQLite file or lies on a PostgreSQL server, and "
            f"a location {url.drivername}://… is neither; give a path, or postgresql://user@host/database"
        )
    if url.database in (None, "", ":memory:"):
        raise InvalidConfig("the feature database needs a file: every connection would see its own memory")
    return url.database
