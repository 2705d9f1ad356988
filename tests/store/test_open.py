"""Opening: migration from nothing, from several processes at once, and what is refused."""

import json
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from sqlalchemy import text

from featurehub.errors import InvalidConfig
from featurehub.records import SearchFilter
from featurehub.store import Store, migrate, open_store
from featurehub.store.candidates import Term
from featurehub.store.location import database_at
from featurehub.store.matching import FULL_TEXT
from featurehub.store.only import bounds_of
from featurehub.store.schema import Base

FOLDER = Path(migrate.__file__).parent / "migrations"
OPEN = "import sys; from featurehub.store import open_store; open_store(sys.argv[1]).close()"


def is_ours(_: object, name: str | None, _kind: str, reflected: bool, ours: object) -> bool:
    """Not what only queries know: SQLite's indexes of words are tables, PostgreSQL's are columns with indexes."""
    indexes = ("words", "ix_names_words", "ix_texts_words", "ix_names_sample", "ix_features_worth")
    return not (("_index" in str(name) or name in indexes) and reflected and ours is None)


@pytest.mark.filterwarnings("ignore:Skipped unsupported reflection of expression-based index ix_features_worth")
def test_migrations_make_exactly_the_schema(bare: str) -> None:
    store = open_store(bare)
    with store._engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"include_object": is_ours, "compare_type": True})
        assert compare_metadata(context, Base.metadata) == []
    store.close()


def test_a_new_database_indexes_what_is_written(bare: str, fill) -> None:
    """Whatever a later revision did to the tables that the first one indexes."""
    with closing(open_store(bare)) as store, store.write() as writer:
        fill(writer, {1: "banking: loan", 2: "pirate"})
        full_text = FULL_TEXT[store._engine.dialect.name]
        found = writer._session.execute(
            full_text.best,
            {"names": full_text.any_of([Term("loa", begins=True)]), "texts": full_text.every_of([[Term("quiet")]]),
             "key": "", "saes": ["a" * 64], "words": [], "limit": 9, "owner": "", **bounds_of(SearchFilter())},
        )  # fmt: skip
        assert sorted(row[0] for row in found) == ["name", "text", "text"]


def test_a_database_of_the_first_version_keeps_what_it_has(bare: str, make_manifest) -> None:
    engine, manifest = database_at(bare).engine, make_manifest().model_dump(mode="json")
    manifest["model"].pop("revision", None)
    row = {"id": "a" * 64, "name": "demo-l2", "model": "m" * 64, "manifest": json.dumps(manifest)}
    columns = "(:id, :name, :model, :manifest, '/nowhere', '2026-01-01', true)"
    with engine.begin() as connection:
        config = Config(attributes={"connection": connection})
        config.set_main_option("script_location", str(FOLDER))
        command.upgrade(config, "0001")
        connection.execute(text(f"INSERT INTO artifacts VALUES {columns}"), row)
    engine.dispose()
    with closing(open_store(bare)) as store, store.write() as writer:
        writer.put_artifact_alias("a" * 64, "production")
        assert writer.reader.artifact("production").manifest == make_manifest()
        assert writer.reader.evaluations("production") == []


def test_database_is_a_plain_sqlite_file(tmp_path: Path) -> None:
    open_store(tmp_path / "new folder" / "features.db").close()
    connection = sqlite3.connect(tmp_path / "new folder" / "features.db")
    assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert connection.execute("SELECT count(*) FROM features").fetchone() == (0,)
    connection.close()


def test_opening_twice_keeps_what_is_there(bare: str, make_manifest) -> None:
    first = open_store(bare)
    with first.write() as writer:
        writer.put_artifact(make_manifest(), "/nowhere")
    first.close()
    second = open_store(bare if "://" in bare else f"sqlite:///{bare}")
    with second.read() as reader:
        assert [each.name for each in reader.artifacts()] == ["demo-l2"]
    second.close()


def test_processes_that_open_at_once_do_not_collide(bare: str) -> None:
    command = [sys.executable, "-c", OPEN, bare]
    running = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    errors = [process.communicate()[1] for process in running]
    assert [process.returncode for process in running] == [0] * 2, errors


def test_newer_database_is_refused_and_left_alone(store: Store) -> None:
    with store.write() as writer:
        writer._session.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(InvalidConfig, match="newer featurehub"):
        open_store(store.name)
    with store.read() as reader:
        assert reader.artifacts() == []


@pytest.mark.parametrize("at", [
    "sqlite://", "sqlite:///:memory:", "nonsense://somewhere", "://", "mysql://me:hush@host/db",
    "postgresql://me:hush@host:port/db", "sqlite:///f.db?immutable=1&uri=true",
])  # fmt: skip
def test_what_is_no_location_is_refused(at: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InvalidConfig) as caught:
        open_store(at)
    assert "hush" not in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / "features.db").write_text("not a database at all, and long enough to be looked at as a header" * 20)
    with pytest.raises(InvalidConfig, match="cannot open"):
        open_store(tmp_path / "features.db")


def test_a_folder_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InvalidConfig, match="cannot make the folder"):
        open_store(tmp_path / "file" / "features.db")
    with pytest.raises(InvalidConfig, match="cannot open"):
        open_store(tmp_path)


def test_foreign_keys_hold(store: Store) -> None:
    with pytest.raises(Exception, match=r"(?i)foreign key"), store.write() as writer:
        writer._session.execute(text("INSERT INTO texts (feature_id, artifact_id, text) VALUES ('f_none', 'a', 'x')"))
