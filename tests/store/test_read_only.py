"""An SQLite file where nothing may be written, and one that another process writes to."""

import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import text

from featurehub.errors import StoreBusy
from featurehub.store import Store, open_store
from featurehub.store.sqlite import source_of

NOBODY = 65534


@pytest.fixture
def database(fill) -> Iterator[Path]:
    """A database of one feature in a folder that everybody may enter."""
    folder = Path(tempfile.mkdtemp(prefix="read-only-"))
    folder.chmod(0o755)
    path = folder / "f?#%20 ü" / "features.db"
    store = open_store(path)
    with store.write() as writer:
        fill(writer, {1: "banking"})
    store.close()
    yield path
    for each in (path.parent, path):
        each.chmod(0o755)
    shutil.rmtree(folder)


def protect(path: Path) -> None:
    """What is there may be read by everybody, and written by nobody."""
    for each in path.parent.iterdir():
        each.chmod(0o444)
    path.parent.chmod(0o555)


def as_nobody(work: Callable[[], object]) -> str:
    """What a child of this process without privileges finds: what ``work`` returns, or the error it ends with."""
    read, write = os.pipe()
    if (child := os.fork()) == 0:
        if os.getuid() == 0:
            os.setgid(NOBODY)
            os.setuid(NOBODY)
        try:
            told = str(work())
        except BaseException as error:  # noqa: BLE001 (the child must never come back into pytest)
            told = f"{type(error).__name__}: {error}"
        os.write(write, told.encode())
        os._exit(0)
    os.close(write)
    os.waitpid(child, 0)
    with os.fdopen(read) as pipe:
        return pipe.read()


def labels(path: Path) -> list[str]:
    store = open_store(path)
    with store.read() as reader:
        found = sorted(each.label for each in reader.search("").features)
    store.close()
    return found


def test_it_is_read_and_nothing_is_written_beside_it(database: Path) -> None:
    protect(database)
    before = database.read_bytes()
    assert as_nobody(lambda: labels(database)) == "['banking']"
    assert [each.name for each in database.parent.iterdir()] == ["features.db"]
    assert database.read_bytes() == before


def test_whoever_writes_is_told_that_it_cannot(database: Path) -> None:
    protect(database)

    def write() -> None:
        with open_store(database).write() as writer:
            writer.put_artifact_alias("a" * 64, "production")

    told = as_nobody(write)
    assert told.startswith("StoreReadOnly: ")
    assert "features.db may only be read; give --db a file in a folder that you may write" in told


def test_changes_that_only_the_log_has_are_read_too_or_it_is_said_that_they_cannot(database: Path, fill) -> None:
    """Of a writer that still runs, log and index are there. In a copy with the log alone, the file is an old state."""
    store = open_store(database)
    with store.write() as writer:
        fill(writer, {1: "banking", 2: "gardening"})
    assert Path(f"{database}-wal").stat().st_size > 0
    protect(database)
    assert as_nobody(lambda: labels(database)) == "['banking', 'gardening']"
    database.parent.chmod(0o755)
    copy = database.with_name("copy.db")
    for suffix in ("", "-wal"):
        shutil.copy(f"{database}{suffix}", f"{copy}{suffix}")
    protect(database)
    told = as_nobody(lambda: labels(copy))
    assert told.startswith("InvalidConfig: ")
    assert "its latest changes lie in copy.db-wal" in told
    database.parent.chmod(0o755)
    for each in database.parent.iterdir():
        each.chmod(0o644)
    store.close()


def test_what_somebody_else_changes_is_seen(database: Path, fill, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file is taken not to change only until it does."""
    monkeypatch.setattr(os, "access", lambda path, mode: mode != os.W_OK)
    reading = open_store(database)
    assert source_of(database).uri.endswith("immutable=1")
    with reading.read() as reader:
        assert [each.label for each in reader.search("").features] == ["banking"]
    monkeypatch.undo()
    writing = open_store(database)
    with writing.write() as writer:
        fill(writer, {1: "banking", 2: "gardening"})
    monkeypatch.setattr(os, "access", lambda path, mode: mode != os.W_OK)
    for _ in ("in the log", "in the file"):
        with reading.read() as reader:
            assert {each.label for each in reader.search("").features} == {"banking", "gardening"}
        writing.close()
    reading.close()


def test_an_older_schema_is_upgraded_where_that_is_possible(database: Path) -> None:
    raw = sqlite3.connect(database)
    raw.executescript(
        "DROP TABLE former_names; DROP TABLE refreshed_features; DROP TABLE refreshes;"
        "DROP INDEX ix_features_worth; CREATE INDEX ix_features_steerability ON features (steerability);"
        "ALTER TABLE texts DROP COLUMN artifact_id;"
        "DROP TABLE maps; DROP TABLE names_index_words; DROP TABLE clusters; DROP TABLE group_members;"
        "DROP TABLE feature_groups; DROP TABLE variant_versions; DROP TABLE variants;"
        "ALTER TABLE features DROP COLUMN histogram; ALTER TABLE features DROP COLUMN coactive;"
        "ALTER TABLE features DROP COLUMN cluster; ALTER TABLE features DROP COLUMN expected_steerability;"
        "DROP TABLE embeddings; DROP TABLE embedders;"
        "ALTER TABLE labels DROP COLUMN name; ALTER TABLE labels DROP COLUMN qualifier;"
        "ALTER TABLE labels DROP COLUMN further;"
        "DROP TABLE words; DROP TABLE evaluations; DROP TABLE artifact_aliases;"
        "CREATE TABLE old (id INTEGER PRIMARY KEY, feature_id TEXT NOT NULL, name TEXT NOT NULL, key TEXT NOT NULL,"
        " kind TEXT NOT NULL, UNIQUE (feature_id, key));"
        "INSERT INTO old SELECT id, feature_id, name, key, kind FROM names;"
        "DROP TABLE names; ALTER TABLE old RENAME TO names; CREATE INDEX ix_names_key ON names (key);"
        "UPDATE alembic_version SET version_num = '0001'"
    )
    raw.close()
    protect(database)
    told = as_nobody(lambda: labels(database))
    assert told.startswith("StoreReadOnly: ")
    assert "was written by an older featurehub" in told
    database.parent.chmod(0o755)
    database.chmod(0o644)
    assert labels(database) == ["banking"]


def test_a_missing_one_cannot_be_made(database: Path) -> None:
    protect(database)
    assert "cannot open" in as_nobody(lambda: labels(database.with_name("other.db")))


@pytest.fixture
def writing(database: Path) -> Iterator[sqlite3.Connection]:
    """Another process in the middle of a transaction."""
    connection = sqlite3.connect(database, isolation_level=None)
    connection.execute("BEGIN IMMEDIATE")
    connection.execute("UPDATE features SET label = 'half done'")
    yield connection
    connection.close()


def test_whoever_reads_does_not_wait_for_a_writer(database: Path, writing: sqlite3.Connection) -> None:
    """Neither to open the database nor to read it: the lock is held for as long as the test runs."""
    assert labels(database) == ["banking"]
    assert writing.in_transaction


def test_whoever_writes_waits_and_then_says_what_to_do(database: Path, writing: sqlite3.Connection, fill) -> None:
    store = open_store(database)
    words = r"another process has been writing to .*features.db for 0 s; wait until"
    with pytest.raises(StoreBusy, match=words), store.write(patience=0.2):
        pytest.fail("two writers at once")
    writing.rollback()
    with store.write(patience=0.2) as writer:
        assert writer.reader.resolve("banking").latent == 1
    store.close()


def test_a_writer_gets_its_turn_when_the_other_ends(database: Path) -> None:
    holding = [sys.executable, "-c", HOLD, str(database)]
    other = subprocess.Popen(holding, stdout=subprocess.PIPE, text=True)
    assert other.stdout is not None
    assert other.stdout.readline() == "writing\n"
    store = open_store(database)
    with store.write(patience=600) as writer:
        writer.put_artifact_alias("a" * 64, "production")
    assert other.wait() == 0
    other.stdout.close()
    store.close()


HOLD = """
import sqlite3, sys, time
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("BEGIN IMMEDIATE")
print("writing", flush=True)
time.sleep(1.5)
connection.execute("COMMIT")
"""


def test_a_database_of_another_journal_is_read_and_becomes_one_of_ours(tmp_path: Path, database: Path) -> None:
    """``VACUUM INTO`` makes a copy without a log."""
    source = sqlite3.connect(database)
    source.execute("VACUUM INTO ?", (str(tmp_path / "copy.db"),))
    source.close()
    assert labels(tmp_path / "copy.db") == ["banking"]
    store: Store = open_store(tmp_path / "copy.db")
    with store.write() as writer:
        assert writer._session.scalar(text("PRAGMA journal_mode")) == "wal"
    store.close()
