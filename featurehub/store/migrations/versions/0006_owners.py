"""Names that somebody gave for themselves: a name belongs to an owner, or with "" to everyone."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

# SQLite does not name the constraint of the first tables; PostgreSQL does so by itself.
NAMING = {"uq": "%(table_name)s_%(column_0_name)s_%(column_1_name)s_key"}


def upgrade() -> None:
    with op.batch_alter_table("names", naming_convention=NAMING) as batch:
        batch.add_column(sa.Column("owner", sa.String(64), nullable=False, server_default=""))
        batch.drop_constraint("names_feature_id_key_key", type_="unique")
        batch.create_unique_constraint("uq_names_feature_owner_key", ["feature_id", "owner", "key"])
