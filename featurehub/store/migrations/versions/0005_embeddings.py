"""What features' labels, tokens and contexts mean, as vectors."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "embedders",
        sa.Column("artifact_id", sa.String(64), sa.ForeignKey("artifacts.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("embedder", sa.Text(), nullable=False),
        sa.Column("dimensions", sa.Integer(), nullable=False),
        sa.Column("stamp", sa.String(32), nullable=False),
    )
    op.create_table(
        "embeddings",
        sa.Column("feature_id", sa.String(40), sa.ForeignKey("features.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("kind", sa.String(10), primary_key=True),
        sa.Column("vector", sa.LargeBinary(), nullable=False),
    )
