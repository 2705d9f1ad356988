"""Names that stand for several features."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "feature_groups",
        sa.Column("id", sa.String(40), primary_key=True),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("owner", sa.String(64), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("words", sa.Text(), nullable=False),
        sa.Column("method", sa.Text(), nullable=False),
        sa.Column("created", sa.String(40), nullable=False),
        sa.UniqueConstraint("key", "owner", name="uq_feature_groups_key_owner"),
    )
    op.create_table(
        "group_members",
        sa.Column("group_id", sa.String(40), sa.ForeignKey("feature_groups.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("place", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("feature_id", sa.String(40), nullable=False),
        sa.Column("artifact_id", sa.String(64), nullable=False),
        sa.Column("latent", sa.Integer(), nullable=False),
        sa.Column("label", sa.Text(), nullable=False),
        sa.Column("weight", sa.Float(), nullable=False),
    )
