"""Labels in parts, and of each name how many of its words are the name of its label, and how many its head.

Explainers of ours wrote a label's parts into one text, ``name (qualifier): further, words``; this is the one place that
reads them out of it again. What people, Neuronpedia and other programs wrote are names as a whole. Every name that a
feature answers to stays, and so do slugs.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import sqlalchemy as sa
from alembic import op

from featurehub.names import parts_of, words_of

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

BATCH, VARIABLES = 2_000, 900
OF_LABELS = ("label", "head", "kept")
EXPLAINERS = ("contrastive-ngrams", "vocabulary-projection", "llm-contexts")
LABELS = sa.table("labels", sa.column("feature_id"), sa.column("version"), sa.column("label"), sa.column("author"),
    sa.column("method"), sa.column("name"), sa.column("qualifier"), sa.column("further", sa.JSON()))  # fmt: skip
NAMES = sa.table("names", *map(sa.column, ("id", "feature_id", "name", "key", "kind", "name_words", "head_words")))
COMPOSED = LABELS.c.label.is_not(None), LABELS.c.method.in_(EXPLAINERS), LABELS.c.author != "neuronpedia"


def upgrade() -> None:
    op.add_column("labels", sa.Column("name", sa.Text()))
    op.add_column("labels", sa.Column("qualifier", sa.Text(), nullable=False, server_default=""))
    op.add_column("labels", sa.Column("further", sa.JSON(), nullable=False, server_default="[]"))
    op.add_column("names", sa.Column("name_words", sa.Integer(), nullable=False, server_default="0"))
    op.add_column("names", sa.Column("head_words", sa.Integer(), nullable=False, server_default="0"))
    if op.get_context().dialect.name == "sqlite":
        # No key changes; the trigger is restored after this revision.
        op.execute("DROP TRIGGER IF EXISTS names_changed")
    op.execute(sa.update(LABELS).values(name=LABELS.c.label))
    _part_labels(op.get_bind())
    _count_words(op.get_bind())


def _part_labels(connection: sa.Connection) -> None:
    key = LABELS.c.feature_id, LABELS.c.version
    changed = (
        sa.update(LABELS)
        .where(LABELS.c.feature_id == sa.bindparam("feature"), LABELS.c.version == sa.bindparam("at"))
        .values({each: sa.bindparam(each) for each in ("name", "qualifier", "further")})
    )
    for rows in _pages(connection, sa.select(*key, LABELS.c.label).where(*COMPOSED), key):
        connection.execute(changed, [{"feature": row[0], "at": row[1], **_parts(row.label)} for row in rows])


def _count_words(connection: sa.Connection) -> None:
    """A name that is a label's text or head has the words of its parts; any other is a name as a whole."""
    counts = "name_words", "head_words"
    changed = (
        sa.update(NAMES).where(NAMES.c.id == sa.bindparam("at")).values({each: sa.bindparam(each) for each in counts})
    )
    columns = NAMES.c.id, NAMES.c.feature_id, NAMES.c.name, NAMES.c.key, NAMES.c.kind
    for rows in _pages(connection, sa.select(*columns), (NAMES.c.id,)):
        known = _known(connection, list({row.feature_id for row in rows if row.kind in OF_LABELS}))
        values: list[dict[str, int]] = []
        for row in rows:
            all_words = len(parts_of(row.key))
            found = known.get((row.feature_id, row.name)) if row.kind in OF_LABELS else None
            values.append({"at": row.id, **dict(zip(counts, found or (all_words, all_words), strict=True))})
        connection.execute(changed, values)


def _known(connection: sa.Connection, features: Sequence[str]) -> dict[tuple[str, str], tuple[int, int]]:
    """How many words the name and the head have, by feature and by text and head of any of its composed labels."""
    found: dict[tuple[str, str], tuple[int, int]] = {}
    for start in range(0, len(features), VARIABLES):
        query = sa.select(LABELS).where(*COMPOSED, LABELS.c.feature_id.in_(features[start : start + VARIABLES]))
        for row in connection.execute(query.order_by(LABELS.c.version)):
            name_words = len(words_of(row.name))
            counts = name_words, name_words + len(words_of(row.qualifier))
            head = f"{row.name} ({row.qualifier})" if row.qualifier else row.name
            found |= {(row.feature_id, row.label): counts, (row.feature_id, head): counts}
    return found


def _parts(label: str) -> dict[str, Any]:
    """The parts of a label in one text. What qualifies its name is a further word too, but for a number."""
    head, _, behind = label.partition(": ")
    name, _, bracketed = head.partition(" (") if head.endswith(")") else (head, "", "")
    if not name.strip():
        return {"name": label, "qualifier": "", "further": []}
    qualifier = bracketed.removesuffix(")")
    words = [*([] if qualifier.isdigit() else [qualifier]), *behind.split(", ")]
    return {"name": name, "qualifier": qualifier, "further": [word for word in words if word.strip()]}


def _pages(connection: sa.Connection, query: Any, key: Sequence[Any]) -> Iterator[Sequence[Any]]:
    """The rows of a query in order of the key, whose columns it begins with, a few at a time."""
    query = query.order_by(*key).limit(BATCH)
    rows = connection.execute(query).all()
    while rows:
        yield rows
        rows = connection.execute(query.where(sa.tuple_(*key) > tuple(rows[-1][: len(key)]))).all()
