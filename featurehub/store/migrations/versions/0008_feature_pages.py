"""What a feature's page shows beyond its contexts: how strongly it fires, what fires with it, and its cluster."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("features", sa.Column("histogram", sa.JSON()))
    op.add_column("features", sa.Column("coactive", sa.JSON(), nullable=False, server_default="[]"))
    op.add_column("features", sa.Column("cluster", sa.Integer()))
    op.create_table(
        "clusters",
        sa.Column("artifact_id", sa.String(64), sa.ForeignKey("artifacts.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("number", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("latents", sa.JSON(), nullable=False),
    )
