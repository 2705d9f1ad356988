"""Refreshes of SAEs for retrained models: what became of each feature, and of its names."""

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "refreshes",
        sa.Column("artifact_id", sa.String(64), owner(), primary_key=True),
        sa.Column("parent_id", sa.String(64), nullable=False),
        sa.Column("created", sa.String(40), nullable=False),
        sa.Column("report", sa.JSON(), nullable=False),
    )
    op.create_index("ix_refreshes_parent", "refreshes", ["parent_id"])
    op.create_table(
        "refreshed_features",
        sa.Column("artifact_id", sa.String(64), owner(), primary_key=True),
        sa.Column("latent", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("former_id", sa.String(40), nullable=False),
        sa.Column("fate", sa.String(12), nullable=False),
        sa.Column("moved_to", sa.Integer()),
        sa.Column("outcome", sa.JSON(), nullable=False),
    )
    op.create_index("ix_refreshed_features_former_id", "refreshed_features", ["former_id"])
    op.create_table(
        "former_names",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("artifact_id", sa.String(64), owner(), nullable=False),
        sa.Column("latent", sa.Integer(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("owner", sa.String(64), nullable=False, server_default=""),
    )
    op.create_index("ix_former_names_key", "former_names", ["key"])


def owner() -> sa.ForeignKey:
    return sa.ForeignKey("artifacts.id", ondelete="CASCADE")
