"""Vectors that a database with pgvector can index, the SAE that each belongs to, and the words that names are of."""

import numpy as np
import sqlalchemy as sa
from alembic import op
from sqlalchemy.exc import DBAPIError

from featurehub.errors import InvalidConfig, StoreReadOnly

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

BATCH = 2_000
NEEDED = (
    "a feature database on PostgreSQL needs the extension pgvector (0.8 or later), which this server or user does not "
    "provide: install it on the server (https://github.com/pgvector/pgvector#installation), have an administrator run "
    "`CREATE EXTENSION vector` in this database, and try again; or use an SQLite file"
)
NEXT = sa.text("SELECT feature_id, kind, former FROM embeddings WHERE vector IS NULL LIMIT :batch")
CONVERT = sa.text("UPDATE embeddings SET vector = CAST(:vector AS halfvec) WHERE feature_id = :id AND kind = :kind")
OWNED = "UPDATE embeddings SET artifact_id = (SELECT artifact_id FROM features WHERE id = embeddings.feature_id)"


def upgrade() -> None:
    connection = op.get_bind()
    if connection.dialect.name == "postgresql":
        _need_pgvector(connection)
        _convert(connection)
    op.add_column("embeddings", sa.Column("artifact_id", sa.String(64), nullable=False, server_default=""))
    op.execute(OWNED)
    with op.batch_alter_table("embeddings") as batch:
        batch.alter_column("artifact_id", existing_type=sa.String(64), existing_nullable=False, server_default=None)
    op.create_index("ix_embeddings_artifact_kind", "embeddings", ["artifact_id", "kind"])
    if connection.dialect.name == "sqlite":
        op.execute("CREATE VIRTUAL TABLE names_index_words USING fts5vocab(names_index, 'row')")
    else:
        _keep_vocabulary()


def _keep_vocabulary() -> None:
    """All words that names ever had; SQLite's full-text index can list its own."""
    op.create_table("names_index_words", sa.Column("term", sa.Text(collation="C"), primary_key=True))
    op.execute("INSERT INTO names_index_words SELECT DISTINCT unnest(tsvector_to_array(words)) FROM names")
    op.execute(
        "CREATE FUNCTION note_words() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        "INSERT INTO names_index_words SELECT DISTINCT unnest(tsvector_to_array(words)) FROM added "
        "ON CONFLICT DO NOTHING; RETURN NULL; END $$"
    )
    op.execute(
        "CREATE TRIGGER names_added AFTER INSERT ON names REFERENCING NEW TABLE AS added "
        "FOR EACH STATEMENT EXECUTE FUNCTION note_words()"
    )


def _need_pgvector(connection: sa.Connection) -> None:
    try:
        connection.execute(sa.text("CREATE EXTENSION IF NOT EXISTS vector"))
    except (DBAPIError, StoreReadOnly) as error:
        raise InvalidConfig(NEEDED) from error
    version = connection.scalar(sa.text("SELECT extversion FROM pg_extension WHERE extname = 'vector'")) or ""
    if tuple(int(part) for part in version.split(".")[:2]) < (0, 8):
        raise InvalidConfig(NEEDED)


def _convert(connection: sa.Connection) -> None:
    """Bytes become numbers, which only a client can do."""
    op.alter_column("embeddings", "vector", new_column_name="former")
    op.execute("ALTER TABLE embeddings ADD COLUMN vector halfvec")
    while rows := connection.execute(NEXT, {"batch": BATCH}).all():
        connection.execute(
            CONVERT, [{"id": row.feature_id, "kind": row.kind, "vector": _text(row.former)} for row in rows]
        )
    op.drop_column("embeddings", "former")
    op.alter_column("embeddings", "vector", nullable=False)


def _text(stored: bytes) -> str:
    return str(np.frombuffer(stored, "<f2").astype(np.float32).tolist())
