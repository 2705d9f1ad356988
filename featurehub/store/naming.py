"""Names and slugs that features get with a new label.

1. The label in full and its head become names of the feature; its former names stay, as kept names.
2. The slug is the label's head as ``slugify`` writes it, with ``-2``, ``-3`` … where another feature of the artifact
   has it, and ``latent-N`` where nothing of the head can be written in ASCII.
"""

from collections.abc import Iterable, Mapping
from itertools import count

from sqlalchemy.orm import Session

from featurehub.features import slugify
from featurehub.names import fold, head_of
from featurehub.store.bulk import insert_rows
from featurehub.store.names import NameKind
from featurehub.store.rows import batches
from featurehub.store.sql import run_many, statement

__all__ = ["choose_slugs", "default_slug", "free_slug", "give_names"]

FORMER = statement(
    "SELECT feature_id, name, kind FROM names WHERE feature_id IN :ids AND owner = '' ORDER BY id", "ids"
)
FORGET = statement("DELETE FROM names WHERE feature_id IN :ids AND owner = ''", "ids")
COLUMNS = ("feature_id", "name", "key", "kind")
SLUGS = statement("SELECT id, latent, slug FROM features WHERE artifact_id = :artifact ORDER BY latent")
STEP_ASIDE = statement("UPDATE features SET slug = id WHERE id = :id")


def default_slug(latent: int) -> str:
    """The slug of a feature without a label."""
    return f"latent-{latent}"


def free_slug(slug: str, taken: set[str]) -> str:
    """The slug itself, or with the lowest number from 2 that makes it one that is not taken."""
    if slug not in taken:
        return slug
    return next(each for number in count(2) if (each := f"{slug}-{number}") not in taken)


def give_names(session: Session, labels: Mapping[str, str]) -> None:
    """Makes each label and its head names of its feature (by id), and keeps all former names, and all of owners."""
    claims = [(each, name, kind) for each, label in labels.items() for name, kind in _current(label)]
    for batch in batches(labels):
        if former := session.execute(FORMER, {"ids": batch}).all():
            claims += [(row.feature_id, row.name, _kept(NameKind(row.kind))) for row in former]
            session.execute(FORGET, {"ids": batch})
    insert_rows(session, "names", COLUMNS, _first_claims(claims))


def choose_slugs(session: Session, artifact: str, labels: Mapping[str, str]) -> dict[str, str]:
    """The slugs that features get with their labels. Features whose slugs are in the way get another one meanwhile.

    Args:
        session: A session that writes.
        artifact: Id of the artifact.
        labels: By the feature's id.

    Returns:
        The slugs, by the feature's id.
    """
    rows = session.execute(SLUGS, {"artifact": artifact}).all()
    taken = {row.slug for row in rows if row.id not in labels}
    former = {row.slug: row.id for row in rows}
    chosen: dict[str, str] = {}
    for row in rows:
        if row.id in labels:
            chosen[row.id] = free_slug(slugify(head_of(labels[row.id])) or default_slug(row.latent), taken)
            taken.add(chosen[row.id])
    # Features may swap slugs, and the database checks uniqueness row by row, so slugs in the way are replaced first.
    in_the_way = [former[slug] for id, slug in chosen.items() if former.get(slug, id) != id]
    run_many(session, STEP_ASIDE, [{"id": each} for each in in_the_way])
    return chosen


def _current(label: str) -> Iterable[tuple[str, NameKind]]:
    return (label, NameKind.LABEL), (head_of(label), NameKind.HEAD)


def _kept(kind: NameKind) -> NameKind:
    return kind if kind is NameKind.GIVEN else NameKind.KEPT


def _first_claims(claims: Iterable[tuple[str, str, NameKind]]) -> Iterable[tuple[str, str, str, str]]:
    """Values of ``COLUMNS``; of claims to one name, the first counts."""
    rows: dict[tuple[str, str], tuple[str, str, str, str]] = {}
    for feature_id, name, kind in claims:
        key = fold(name)
        rows.setdefault((feature_id, key), (feature_id, name, key, kind.value))
    return rows.values()
