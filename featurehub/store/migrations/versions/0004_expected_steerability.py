"""What is expected of features that were never steered."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("features", sa.Column("expected_steerability", sa.Float()))
