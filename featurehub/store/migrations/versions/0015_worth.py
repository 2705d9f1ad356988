"""Features are listed best first by an index, however many there are.

It has their order where all are equally relevant (``featurehub.store.listing``), and all that a listing looks at: no
row of a feature that is not shown is read. The index of steerability alone served no query.
"""

from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

SCORE = "coalesce(label_score, 0.5)"
STEERS = "coalesce(steerability, expected_steerability, 0.3)"
WORTH = " * ".join(f"CASE WHEN {each} > 0.05 THEN {each} ELSE 0.05 END" for each in (SCORE, STEERS))
SHOWN = "density, label_score, steerability, expected_steerability"


def upgrade() -> None:
    op.drop_index("ix_features_steerability", table_name="features")
    op.execute(f"CREATE INDEX ix_features_worth ON features (artifact_id, ({WORTH}), id, {SHOWN})")
