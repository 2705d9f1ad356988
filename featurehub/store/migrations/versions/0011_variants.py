"""Edits on a model under one name, in versions."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "variants",
        sa.Column("id", sa.String(40), primary_key=True),
        sa.Column("name", sa.String(100), nullable=False),
        sa.Column("owner", sa.String(64), nullable=False),
        sa.Column("latest", sa.Integer(), nullable=False),
        sa.UniqueConstraint("name", "owner", name="uq_variants_name_owner"),
    )
    op.create_table(
        "variant_versions",
        sa.Column("variant_id", sa.String(40), sa.ForeignKey("variants.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("version", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("definition", sa.Text(), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("created", sa.String(40), nullable=False),
    )
