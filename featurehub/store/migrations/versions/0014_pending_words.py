"""On PostgreSQL, a search finds few new words outside the indexes: it goes through all of those, one by one.

A GIN index keeps what is added in a list, by default up to 4 MiB, until a vacuum moves it: after many features were
added, a search by words took half of its time there. Adding takes no longer with the least that may be set.
"""

from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

INDEXES = ("ix_names_words", "ix_texts_words")
LEAST = 64
"""KiB."""


def upgrade() -> None:
    if op.get_context().dialect.name != "postgresql":
        return
    for index in INDEXES:
        op.execute(f"ALTER INDEX {index} SET (gin_pending_list_limit = {LEAST})")
        op.execute(f"SELECT gin_clean_pending_list('{index}')")
