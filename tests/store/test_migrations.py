"""Migrations of databases that are filled: no row is lost, and one that fails leaves the file as it was."""

import sqlite3
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy.exc import OperationalError

from featurehub.errors import StoreError
from featurehub.features import State
from featurehub.store import Calibration, EmbeddingKind, Evaluation, Store, migrate, open_store
from featurehub.verdicts import DriftReport, FeatureVerdict

TABLES = (
    "artifacts", "artifact_aliases", "features", "labels", "names", "texts", "drift_reports", "drift_verdicts",
    "evaluations", "words", "embedders", "embeddings",
)  # fmt: skip
Migration = Callable[[str], None]
VERSIONS = Path(migrate.__file__).parent / "migrations"


@pytest.fixture
def database(store: Store, fill) -> Path:
    """A database with rows in every table, as this version leaves it."""
    verdict = FeatureVerdict(latent=1, label="banking", reads=State.STALE, steers=State.STALE, reason="measured")
    with store.write() as writer:
        ids = fill(writer, {1: "banking: loan", 2: "pirate", 3: "gardening"})
        writer.put_artifact_alias("a" * 64, "production")
        writer.put_words("a" * 64, {"cheque": [(1, 2.5)]})
        writer.begin_embedding("a" * 64, "fake", 2)
        writer.put_embeddings("a" * 64, "fake", EmbeddingKind.LABEL, {ids[2]: "pirate"}, np.ones((1, 2), np.float32))
        writer.put_calibration(ids[1], Calibration(strength=1.0, dose=0.3))
        writer.put_report(
            DriftReport(
                id="r1", artifact="a" * 64, model="sibling", fingerprint="n" * 64, created="2026-02-01",
                state=State.SUSPECT, reason="", metrics={}, features=(verdict,),
            )
        )  # fmt: skip
        writer.put_evaluation(
            Evaluation(
                artifact="a" * 64, fingerprint="n" * 64, model="sibling", text="corpus", text_hash="t" * 64,
                metrics={"l0": 4.0}, created="2026-02-01",
            )
        )  # fmt: skip
    store.close()
    return store.path


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

revision, down_revision, branch_labels, depends_on = "9999", "0005", None, None

def upgrade():
    connection = op.get_bind()
"""


def counts(path: Path) -> dict[str, int]:
    with sqlite3.connect(path) as raw:
        found = {table: raw.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in TABLES}
    raw.close()
    return found


def dump(path: Path) -> list[str]:
    raw = sqlite3.connect(path)
    lines = list(raw.iterdump())
    raw.close()
    return lines


COLUMNS = [("drift_reports", "state", 10), ("features", "slug", 100), ("artifacts", "path", 200), ("names", "kind", 10)]


@pytest.mark.parametrize(("table", "column", "length"), COLUMNS)
def test_a_column_that_changes_takes_no_row_along(
    database: Path, migration: Migration, table: str, column: str, length: int
) -> None:
    """Alembic drops the old table, and what refers to it must not go with it, nor what keeps the search up to date."""
    before = counts(database)
    assert 0 not in before.values()
    migration(
        f"    with op.batch_alter_table({table!r}) as batch:\n"
        f"        batch.alter_column({column!r}, type_=sa.String({length + 1}), existing_nullable=False)\n"
    )
    store = open_store(database)
    assert counts(database) == before
    with store.write() as writer:
        assert writer.reader.latest_report("demo", "n" * 64).features[0].state is State.STALE  # type: ignore[union-attr]
        assert [each.latent for each in writer.reader.search("loan").features] == [1]
        [pirate] = writer.reader.search("pirate").features
        writer.put_alias(pirate.id, "corsair")
        assert [each.latent for each in writer.reader.search("corsair").features] == [2]
        writer.remove_artifact("a" * 64)
    store.close()
    assert set(counts(database).values()) == {0}


FAILING = [
    ("    op.drop_table('drift_verdicts')\n    op.execute('SELECT * FROM nowhere')\n", OperationalError),
    ("    connection.execute(sa.text('DELETE FROM features'))\n", StoreError),
]


@pytest.mark.parametrize(("body", "error"), FAILING, ids=["in the middle", "rows lost"])
def test_one_that_fails_leaves_the_file_as_it_was(
    database: Path, migration: Migration, body: str, error: type[Exception]
) -> None:
    before, lines = database.read_bytes(), dump(database)
    migration("    op.add_column('features', sa.Column('color', sa.Text()))\n" + body)
    with pytest.raises(Exception) as caught:  # noqa: PT011
        open_store(database)
    assert isinstance(caught.value.__cause__ or caught.value, error)
    assert dump(database) == lines
    assert database.read_bytes() == before


def test_foreign_keys_hold_again_after_it(database: Path, migration: Migration) -> None:
    migration("    op.add_column('features', sa.Column('color', sa.Text()))\n")
    store = open_store(database)
    with pytest.raises(Exception, match="FOREIGN KEY"), store.write() as writer:
        writer._session.connection().exec_driver_sql("INSERT INTO texts (feature_id, text) VALUES ('f_none', 'x')")
    store.close()
