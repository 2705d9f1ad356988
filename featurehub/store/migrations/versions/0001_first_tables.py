"""The first tables, and full-text indexes over names and texts."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

INDEXED = {"names": "key", "texts": "text"}
LONGEST = 100_000
"""Characters of a text that are indexed on PostgreSQL, which refuses a text whose index entry is larger than a MiB."""
# PostgreSQL's parser knows addresses, paths and numbers with a point, and in a database of the locale C it takes
# every character beyond ASCII for a letter. It is given words alone, so that it finds what SQLite's index does.
SEPARATORS = (
    "".join(map(chr, range(1, 128))).translate({code: None for code in range(128) if chr(code).isalnum()})
    + "\u00a0\u00a1\u00a7\u00ab\u00ac\u00ad\u00ae\u00af\u00b0\u00b1\u00b4\u00b6\u00b7\u00b8\u00bb\u00bf\u00d7\u00f7"
    + "".join(map(chr, (*range(0x2000, 0x2070), *range(0x20A0, 0x20C1), *range(0x2190, 0x2300))))
    + "".join(map(chr, (*range(0x3000, 0x3004), *range(0x3008, 0x3021), 0x3030, 0x30FB)))
)


def upgrade() -> None:
    _create_artifacts()
    _create_features()
    _create_labels()
    _create_names()
    _create_drift()
    index = {"sqlite": _index_on_sqlite, "postgresql": _index_on_postgres}[op.get_context().dialect.name]
    for table, column in INDEXED.items():
        index(table, column)


def _create_artifacts() -> None:
    op.create_table(
        "artifacts",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("name", sa.String(200), nullable=False, unique=True),
        sa.Column("model", sa.String(64), nullable=False, index=True),
        sa.Column("manifest", sa.JSON(), nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("created", sa.String(40), nullable=False),
        sa.Column("is_default", sa.Boolean(), nullable=False),
    )
    only = sa.text("is_default")
    op.create_index(
        "ix_artifacts_one_default", "artifacts", ["model"], unique=True, sqlite_where=only, postgresql_where=only
    )


def _create_features() -> None:
    op.create_table(
        "features",
        sa.Column("id", sa.String(40), primary_key=True),
        sa.Column("artifact_id", sa.String(64), sa.ForeignKey("artifacts.id", ondelete="CASCADE"), nullable=False),
        sa.Column("latent", sa.Integer(), nullable=False),
        sa.Column("slug", sa.String(100), nullable=False),
        sa.Column("density", sa.Float(), nullable=False),
        sa.Column("max_activation", sa.Float(), nullable=False),
        sa.Column("label", sa.Text(), nullable=False),
        sa.Column("label_version", sa.Integer(), nullable=False),
        sa.Column("label_score", sa.Float()),
        sa.Column("strength", sa.Float()),
        sa.Column("steerability", sa.Float(), index=True),
        sa.Column("calibration", sa.JSON(none_as_null=True)),
        *(sa.Column(name, sa.JSON(), nullable=False) for name in ("quantiles", "contexts")),
        *(sa.Column(name, sa.JSON(), nullable=False) for name in ("top_tokens", "bottom_tokens", "neighbors")),
        sa.UniqueConstraint("artifact_id", "latent"),
        sa.UniqueConstraint("artifact_id", "slug"),
    )


def _create_labels() -> None:
    op.create_table(
        "labels",
        sa.Column("feature_id", sa.String(40), sa.ForeignKey("features.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("version", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("label", sa.Text()),
        sa.Column("reason", sa.Text()),
        sa.Column("score", sa.Float()),
        sa.Column("scores", sa.JSON(), nullable=False),
        *(sa.Column(name, sa.Text(), nullable=False) for name in ("author", "method", "model", "prompt", "answer")),
        sa.Column("created", sa.String(40), nullable=False),
        sa.CheckConstraint("(label IS NULL) <> (reason IS NULL)", name="ck_labels_label_or_reason"),
    )


def _create_names() -> None:
    op.create_table(
        "names",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("feature_id", sa.String(40), sa.ForeignKey("features.id", ondelete="CASCADE"), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False, index=True),
        sa.Column("kind", sa.String(10), nullable=False),
        sa.UniqueConstraint("feature_id", "key"),
    )
    op.create_table(
        "texts",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column(
            "feature_id", sa.String(40), sa.ForeignKey("features.id", ondelete="CASCADE"), nullable=False, unique=True
        ),
        sa.Column("text", sa.Text(), nullable=False),
    )


def _create_drift() -> None:
    op.create_table(
        "drift_reports",
        sa.Column("number", sa.Integer(), primary_key=True),
        sa.Column("id", sa.String(64), nullable=False, unique=True),
        sa.Column("artifact_id", sa.String(64), sa.ForeignKey("artifacts.id", ondelete="CASCADE"), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("fingerprint", sa.String(64), nullable=False),
        sa.Column("created", sa.String(40), nullable=False),
        sa.Column("state", sa.String(10), nullable=False),
        sa.Column("report", sa.JSON(), nullable=False),
    )
    op.create_index("ix_drift_reports_artifact_fingerprint", "drift_reports", ["artifact_id", "fingerprint"])
    op.create_table(
        "drift_verdicts",
        sa.Column("report_id", sa.String(64), sa.ForeignKey("drift_reports.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("latent", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("label", sa.Text(), nullable=False),
        sa.Column("reads", sa.String(10), nullable=False),
        sa.Column("steers", sa.String(10), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("evidence", sa.JSON(), nullable=False),
    )


def _index_on_sqlite(table: str, column: str) -> None:
    """An FTS5 index that follows its table by triggers, so that nobody who writes needs to know of it."""
    index = f"{table}_index"
    op.execute(
        f"CREATE VIRTUAL TABLE {index} USING fts5({column}, content='{table}', content_rowid='id', "
        "tokenize='unicode61 remove_diacritics 0', prefix='2 3')"
    )
    add = f"INSERT INTO {index}(rowid, {column}) VALUES (new.id, new.{column});"
    drop = f"INSERT INTO {index}({index}, rowid, {column}) VALUES ('delete', old.id, old.{column});"
    op.execute(f"CREATE TRIGGER {table}_added AFTER INSERT ON {table} BEGIN {add} END")
    op.execute(f"CREATE TRIGGER {table}_removed AFTER DELETE ON {table} BEGIN {drop} END")
    op.execute(f"CREATE TRIGGER {table}_changed AFTER UPDATE ON {table} BEGIN {drop} {add} END")


def _index_on_postgres(table: str, column: str) -> None:
    """A column that the server fills with the text's words, and an index over it."""
    quoted = SEPARATORS.replace("'", "''")
    words = f"translate(left({column}, {LONGEST}), '{quoted}', repeat(' ', {len(SEPARATORS)}))"
    vector = f"tsvector GENERATED ALWAYS AS (to_tsvector('simple', {words})) STORED"
    op.execute(f"ALTER TABLE {table} ADD COLUMN words {vector}")
    op.create_index(f"ix_{table}_words", table, ["words"], postgresql_using="gin")
