"""Names and slugs that features get with a new label.

1. The label in full and its head become names of the feature; what it was called before stays, as kept names.
2. The slug is the label's head as ``slugify`` writes it, with ``-2``, ``-3`` … where another feature of the artifact
   has it, and ``latent-N`` where nothing of the head can be written in ASCII.
"""

from collections.abc import Iterable, Mapping
from itertools import count

from sqlalchemy import delete, insert, select, update
from sqlalchemy.orm import Session

from featurehub.features import slugify
from featurehub.names import fold, head_of
from featurehub.store.names import NameKind
from featurehub.store.rows import batches
from featurehub.store.schema import FeatureRecord, NameRecord

__all__ = ["default_slug", "free_slug", "give_names", "give_slugs"]


def default_slug(latent: int) -> str:
    """The slug of a feature without a label."""
    return f"latent-{latent}"


def free_slug(slug: str, taken: set[str]) -> str:
    """The slug itself, or with the first number that makes it a free one."""
    if slug not in taken:
        return slug
    return next(each for number in count(2) if (each := f"{slug}-{number}") not in taken)


def give_names(session: Session, labels: Mapping[str, str]) -> None:
    """Makes each label and its head names of its feature (by id), and keeps all former names."""
    for batch in batches(labels):
        former = session.execute(
            select(NameRecord.feature_id, NameRecord.name, NameRecord.kind)
            .where(NameRecord.feature_id.in_(batch))
            .order_by(NameRecord.id)
        ).all()
        claims = [(each, name, kind) for each in batch for name, kind in _current(labels[each])]
        claims += [(row.feature_id, row.name, _kept(NameKind(row.kind))) for row in former]
        session.execute(delete(NameRecord).where(NameRecord.feature_id.in_(batch)))
        session.execute(insert(NameRecord), _first_claims(claims))


def give_slugs(session: Session, artifact: str, labels: Mapping[str, str]) -> None:
    """Gives each of the artifact's features (by id) the slug of its label."""
    rows = session.execute(
        select(FeatureRecord.id, FeatureRecord.latent, FeatureRecord.slug)
        .where(FeatureRecord.artifact_id == artifact)
        .order_by(FeatureRecord.latent)
    ).all()
    taken = {row.slug for row in rows if row.id not in labels}
    chosen = []
    for row in rows:
        if row.id in labels:
            slug = free_slug(slugify(head_of(labels[row.id])) or default_slug(row.latent), taken)
            taken.add(slug)
            chosen.append((row.id, row.slug, slug))
    moved = [(each, slug) for each, former, slug in chosen if slug != former]
    # Two steps, since features may swap slugs and the database checks uniqueness row by row.
    _set_slugs(session, [(each, each) for each, _ in moved])
    _set_slugs(session, moved)


def _set_slugs(session: Session, slugs: Iterable[tuple[str, str]]) -> None:
    rows = [{"id": each, "slug": slug} for each, slug in slugs]
    if rows:
        session.execute(update(FeatureRecord), rows)


def _current(label: str) -> Iterable[tuple[str, NameKind]]:
    return (label, NameKind.LABEL), (head_of(label), NameKind.HEAD)


def _kept(kind: NameKind) -> NameKind:
    return kind if kind is NameKind.GIVEN else NameKind.KEPT


def _first_claims(claims: Iterable[tuple[str, str, NameKind]]) -> list[dict[str, str]]:
    rows: dict[tuple[str, str], dict[str, str]] = {}
    for feature_id, name, kind in claims:
        row = {"feature_id": feature_id, "name": name, "key": fold(name), "kind": kind.value}
        rows.setdefault((feature_id, row["key"]), row)
    return list(rows.values())
