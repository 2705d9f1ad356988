"""The words of a text on PostgreSQL are found by a regular expression, eight times as fast as by ``translate``."""

from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

INDEXED = {"names": "key", "texts": "text"}
LONGEST = 100_000
# The separators of the first tables, as a class of characters: each run of them becomes a space.
SEPARATORS = (
    r"\u0001-/:-@\u005b-\u0060{-\u007f\u00a0-\u00a1\u00a7\u00ab-\u00b1\u00b4\u00b6-\u00b8\u00bb\u00bf\u00d7\u00f7"
    r"\u2000-\u206f\u20a0-\u20c0\u2190-\u22ff\u3000-\u3003\u3008-\u3020\u3030\u30fb"
)


def upgrade() -> None:
    if op.get_context().dialect.name != "postgresql":
        return
    for table, column in INDEXED.items():
        words = f"regexp_replace(left({column}, {LONGEST}), '[{SEPARATORS}]+', ' ', 'g')"
        vector = f"tsvector GENERATED ALWAYS AS (to_tsvector('simple', {words})) STORED"
        op.execute(f"ALTER TABLE {table} DROP COLUMN words")  # and its index
        op.get_bind().exec_driver_sql(f"ALTER TABLE {table} ADD COLUMN words {vector}")
        op.create_index(f"ix_{table}_words", table, ["words"], postgresql_using="gin")
