"""Names and texts say which SAE they are of: a search looks at the first that a common word is in, in its SAEs alone.

Without that, they could all be of other SAEs, and the search found nothing.
"""

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None

TABLES = ("names", "texts")
OWNED = "UPDATE {0} SET artifact_id = (SELECT artifact_id FROM features WHERE id = {0}.feature_id)"


def upgrade() -> None:
    for table in TABLES:
        op.add_column(table, sa.Column("artifact_id", sa.String(64), nullable=False, server_default=""))
        if op.get_context().dialect.name == "sqlite":
            # No key changes; the trigger is restored after this revision.
            op.execute(f"DROP TRIGGER IF EXISTS {table}_changed")
        op.execute(OWNED.format(table))
        with op.batch_alter_table(table) as batch:
            batch.alter_column("artifact_id", existing_type=sa.String(64), existing_nullable=False, server_default=None)
