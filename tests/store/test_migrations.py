"""Migrations of databases that are filled: no row is lost, and one that fails leaves the database as it was."""

import re
import runpy
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DatabaseError

from featurehub.errors import InvalidConfig, StoreError
from featurehub.features import State
from featurehub.store import Scope, Store, migrate, open_store
from featurehub.store.location import database_at
from tests.store.filled import fill_every_table, rows

Migration = Callable[[str], None]
VERSIONS = Path(migrate.__file__).parent / "migrations"


@pytest.fixture
def database(store: Store) -> str:
    """A database with rows in every table, as this version leaves it."""
    with store.write() as writer:
        fill_every_table(writer)
    store.close()
    return store.name


@pytest.fixture
def migration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Migration:
    """Adds a migration, whose body is given, to those of this version."""
    folder = tmp_path / "migrations"
    (folder / "versions").mkdir(parents=True)
    for each in [VERSIONS / "env.py", *VERSIONS.glob("versions/*.py")]:
        (folder / each.relative_to(VERSIONS)).write_text(each.read_text())

    def add(body: str) -> None:
        (folder / "versions" / "9999_next.py").write_text(NEXT + body)
        monkeypatch.setattr(migrate, "FOLDER", folder)

    return add


NEXT = """
import sqlalchemy as sa
from alembic import op

revision, down_revision, branch_labels, depends_on = "9999", "0018", None, None

def upgrade():
    connection = op.get_bind()
"""


def indexes(location: str) -> set[str]:
    engine = database_at(location).engine
    names = {"sqlite": "SELECT name FROM sqlite_master WHERE type = 'index' AND name NOT LIKE 'sqlite_auto%'",
             "postgresql": "SELECT indexname FROM pg_indexes WHERE schemaname = 'public'"}  # fmt: skip
    with engine.connect() as connection:
        found = set(connection.execute(text(names[engine.dialect.name])).scalars())
    engine.dispose()
    return found


def counts(location: str) -> dict[str, int]:
    return {table: len(found) - 1 for table, found in rows(location).items()}


COLUMNS = [("drift_reports", "state", 10), ("features", "slug", 100), ("artifacts", "path", 200), ("names", "kind", 10)]


@pytest.mark.parametrize(("table", "column", "length"), COLUMNS)
def test_a_column_that_changes_takes_no_row_along(
    database: str, migration: Migration, table: str, column: str, length: int
) -> None:
    """Alembic drops the old table, and what refers to it must not go with it, nor what keeps the search up to date."""
    before, indexed = counts(database), indexes(database)
    assert 0 not in before.values()
    migration(
        f"    with op.batch_alter_table({table!r}) as batch:\n"
        f"        batch.alter_column({column!r}, type_=sa.String({length + 1}), existing_nullable=False)\n"
    )
    store = open_store(database)
    assert counts(database) == before
    assert indexes(database) == indexed
    with store.write() as writer:
        assert writer.reader.latest_report("demo", "n" * 64).features[0].state is State.STALE  # type: ignore[union-attr]
        assert [each.latent for each in writer.reader.search("loan").features] == [1]
        [pirate] = writer.reader.search("pirate").features
        writer.put_alias(pirate.id, "corsair")
        assert [each.latent for each in writer.reader.search("corsair").features] == [2]
        assert writer.reader.groups.get("money", Scope()).members[1].weight == -0.5
        writer.remove_artifact("a" * 64)
        writer.remove_group("money")
        writer.variants.remove("pirate-bank")
    store.close()
    assert set(counts(database).values()) == {0}


ADD = "    op.add_column('features', sa.Column('color', sa.Text()))\n"


def test_one_that_fails_leaves_the_database_as_it_was(database: str, migration: Migration) -> None:
    before = rows(database)
    migration(ADD + "    op.drop_table('drift_verdicts')\n    op.execute('SELECT * FROM nowhere')\n")
    with pytest.raises(InvalidConfig) as caught:
        open_store(database)
    assert isinstance(caught.value.__cause__, DatabaseError)
    assert rows(database) == before


@pytest.mark.parametrize("location", ["sqlite"], indirect=True)
def test_one_that_loses_rows_leaves_the_file_as_it_was(database: str, migration: Migration) -> None:
    """SQLite has no foreign keys during a migration; PostgreSQL keeps them."""
    before, file = rows(database), Path(database).read_bytes()
    migration(ADD + "    connection.execute(sa.text('DELETE FROM features'))\n")
    with pytest.raises(StoreError, match="without their row of features"):
        open_store(database)
    assert rows(database) == before
    assert Path(database).read_bytes() == file


def test_foreign_keys_hold_again_after_it(database: str, migration: Migration) -> None:
    migration(ADD)
    store = open_store(database)
    with pytest.raises(Exception, match=r"(?i)foreign key"), store.write() as writer:
        writer._session.connection().exec_driver_sql(
            "INSERT INTO texts (feature_id, artifact_id, text) VALUES ('f_none', 'a', 'x')"
        )
    store.close()


def test_what_parts_words_on_a_server_stays_the_same() -> None:
    folder = VERSIONS / "versions"
    first, now = (runpy.run_path(str(folder / each)) for each in ("0001_first_tables.py", "0010_words_by_pattern.py"))
    parts = re.compile(f"[{now['SEPARATORS']}]")
    assert {code for code in range(1, 0x20000) if parts.match(chr(code))} == set(map(ord, first["SEPARATORS"]))
