"""Opening: migration from nothing, from several processes at once, and what is refused."""

import json
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from sqlalchemy import create_engine, text

from featurehub.errors import InvalidConfig
from featurehub.store import Store, migrate, open_store
from featurehub.store.schema import Base

FOLDER = Path(migrate.__file__).parent / "migrations"
OPEN = "import sys; from featurehub.store import open_store; open_store(sys.argv[1]).close()"


def test_migrations_make_exactly_the_schema(tmp_path: Path) -> None:
    open_store(tmp_path / "features.db").close()
    engine = create_engine(f"sqlite:///{tmp_path / 'features.db'}")
    with engine.connect() as connection:
        context = MigrationContext.configure(
            connection, opts={"include_name": lambda name, *_: "_index" not in str(name)}
        )
        assert compare_metadata(context, Base.metadata) == []
    engine.dispose()


def test_a_database_of_the_first_version_keeps_what_it_has(tmp_path: Path, make_manifest) -> None:
    engine, manifest = create_engine(f"sqlite:///{tmp_path / 'features.db'}"), make_manifest().model_dump(mode="json")
    manifest["model"].pop("revision", None)
    row = {"id": "a" * 64, "name": "demo-l2", "model": "m" * 64, "manifest": json.dumps(manifest)}
    columns = "(:id, :name, :model, :manifest, '/nowhere', '2026-01-01', true)"
    with engine.begin() as connection:
        config = Config(attributes={"connection": connection})
        config.set_main_option("script_location", str(FOLDER))
        command.upgrade(config, "0001")
        connection.execute(text(f"INSERT INTO artifacts VALUES {columns}"), row)
    engine.dispose()
    with open_store(tmp_path / "features.db").write() as writer:
        writer.put_artifact_alias("a" * 64, "production")
        assert writer.reader.artifact("production").manifest == make_manifest()
        assert writer.reader.evaluations("production") == []


def test_database_is_a_plain_sqlite_file(tmp_path: Path) -> None:
    open_store(tmp_path / "new folder" / "features.db").close()
    connection = sqlite3.connect(tmp_path / "new folder" / "features.db")
    assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert connection.execute("SELECT count(*) FROM features").fetchone() == (0,)
    connection.close()


def test_opening_twice_keeps_what_is_there(tmp_path: Path, make_manifest) -> None:
    first = open_store(tmp_path / "features.db")
    with first.write() as writer:
        writer.put_artifact(make_manifest(), "/nowhere")
    first.close()
    second = open_store(f"sqlite:///{tmp_path / 'features.db'}")
    with second.read() as reader:
        assert [each.name for each in reader.artifacts()] == ["demo-l2"]
    second.close()


def test_processes_that_open_at_once_do_not_collide(tmp_path: Path) -> None:
    command = [sys.executable, "-c", OPEN, str(tmp_path / "features.db")]
    running = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(3)]
    errors = [process.communicate()[1] for process in running]
    assert [process.returncode for process in running] == [0] * 3, errors


def test_newer_database_is_refused_and_left_alone(store: Store, tmp_path: Path) -> None:
    with store.write() as writer:
        writer._session.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(InvalidConfig, match="newer featurehub"):
        open_store(tmp_path / "features.db")
    with store.read() as reader:
        assert reader.artifacts() == []


@pytest.mark.parametrize("location", ["sqlite://", "sqlite:///:memory:", "nonsense://somewhere", "://"])
def test_what_is_no_location_is_refused(location: str) -> None:
    with pytest.raises(InvalidConfig):
        open_store(location)


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
    with pytest.raises(Exception, match="FOREIGN KEY"), store.write() as writer:
        writer._session.execute(text("INSERT INTO texts (feature_id, text) VALUES ('f_none', 'x')"))
