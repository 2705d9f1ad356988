"""Names and slugs that features get with a new label.

1. The label in full and its head become names of the feature; its former names stay, as kept names. With each name it
   is written how many of its first words are the label's name, and how many its head: search never takes it apart.
2. The slug is the label's head as ``slugify`` writes it, with ``-2``, ``-3`` … where another feature of the artifact
   has it, and ``latent-N`` where nothing of the head can be written in ASCII.
"""

from collections.abc import Callable, Iterable, Mapping
from itertools import count
from typing import NamedTuple

from sqlalchemy import insert, select
from sqlalchemy.orm import Session

from featurehub.errors import InvalidInput
from featurehub.features import slugify
from featurehub.names import fold, parts_of, words_of
from featurehub.records import Label
from featurehub.store.bulk import insert_rows
from featurehub.store.names import NameKind
from featurehub.store.rows import batches
from featurehub.store.schema import OWNER_CHARS, NameRecord
from featurehub.store.sql import run_many, statement

__all__ = [
    "NAME_COLUMNS",
    "TakenSlugs",
    "choose_slugs",
    "default_slug",
    "give_alias",
    "give_names",
    "name_values",
    "names_from",
]


class Claim(NamedTuple):
    """A name that a feature is to have.

    Attributes:
        feature: The feature's id.
        name, kind: The name, and why it has it.
        name_words, head_words: How many of its first words are the name of the label that it is of, and its head.
    """

    feature: str
    name: str
    kind: NameKind
    name_words: int
    head_words: int


FORMER = statement(
    "SELECT feature_id, name, kind, name_words, head_words FROM names"
    " WHERE feature_id IN :ids AND owner = '' ORDER BY id",
    "ids",
)
OWN = statement("SELECT artifact_id FROM features WHERE id = :id")
FORGET = statement("DELETE FROM names WHERE feature_id IN :ids AND owner = ''", "ids")
NAME_COLUMNS = ("feature_id", "artifact_id", "name", "key", "kind", "name_words", "head_words")
SLUGS = statement("SELECT id, latent, slug FROM features WHERE artifact_id = :artifact ORDER BY latent")
STEP_ASIDE = statement("UPDATE features SET slug = id WHERE id = :id")


def default_slug(latent: int) -> str:
    """The slug of a feature without a label."""
    return f"latent-{latent}"


class TakenSlugs:
    """The slugs of an artifact's features.

    Args:
        taken: Those that are taken already.
    """

    def __init__(self, taken: Iterable[str] = ()) -> None:
        self._taken = set(taken)
        # What was taken stays so: the next number is sought after the last one, however many share a slug.
        self._last: dict[str, int] = {}

    def give(self, slug: str) -> str:
        """The slug itself, or with the lowest number from 2 that makes it one that is not taken; it is taken now."""
        free = slug
        if slug in self._taken:
            number = next(n for n in count(self._last.get(slug, 1) + 1) if f"{slug}-{n}" not in self._taken)
            self._last[slug], free = number, f"{slug}-{number}"
        self._taken.add(free)
        return free

    def give_named(self, latent: int, label: Label) -> str:
        """Step 2."""
        return self.give(slugify(label.head) or default_slug(latent))


def give_names(session: Session, labels: Mapping[str, Label], artifacts: Mapping[str, str]) -> None:
    """Makes each label and its head names of its feature, and keeps all former names, and all of owners.

    Args:
        session: A session that writes.
        labels: By the feature's id.
        artifacts: The artifact of each feature.
    """
    claims = names_from(labels)
    for batch in batches(labels):
        if former := session.execute(FORMER, {"ids": batch}).all():
            claims += [Claim(row[0], row[1], _kept(NameKind(row.kind)), *row[3:]) for row in former]
            session.execute(FORGET, {"ids": batch})
    insert_rows(session, "names", NAME_COLUMNS, name_values(claims, artifacts.__getitem__))


def give_alias(session: Session, feature: str, name: str, owner: str) -> None:
    """Gives a feature (by id) a name that ``owner`` alone knows; with "" everyone does. Raises InvalidInput."""
    if not (key := fold(name)):
        raise InvalidInput("an alias has at least one visible character", param="name")
    if len(owner) > OWNER_CHARS:
        raise InvalidInput(f"an owner has at most {OWNER_CHARS} characters, not {len(owner)}", param="owner")
    kind = NameKind.OWN if owner else NameKind.GIVEN
    values = {"feature_id": feature, "key": key, "owner": owner}
    if session.scalars(select(NameRecord.id).filter_by(**values)).first() is None:
        values["artifact_id"] = session.execute(OWN, {"id": feature}).scalar_one()
        words = dict.fromkeys(("name_words", "head_words"), len(parts_of(key)))
        session.execute(insert(NameRecord).values(name=name, kind=kind.value, **words, **values))


def choose_slugs(session: Session, artifact: str, labels: Mapping[str, Label]) -> dict[str, str]:
    """The slugs that features get with their labels. Features whose slugs are in the way get another one meanwhile.

    Args:
        session: A session that writes.
        artifact: Id of the artifact.
        labels: By the feature's id.

    Returns:
        The slugs, by the feature's id.
    """
    rows = session.execute(SLUGS, {"artifact": artifact}).all()
    slugs = TakenSlugs(row.slug for row in rows if row.id not in labels)
    former = {row.slug: row.id for row in rows}
    chosen = {row.id: slugs.give_named(row.latent, labels[row.id]) for row in rows if row.id in labels}
    # Features may swap slugs, and the database checks uniqueness row by row, so slugs in the way are replaced first.
    in_the_way = [former[slug] for id, slug in chosen.items() if former.get(slug, id) != id]
    run_many(session, STEP_ASIDE, [{"id": each} for each in in_the_way])
    return chosen


def names_from(labels: Mapping[str, Label]) -> list[Claim]:
    """The names that labels give to their features (by id)."""
    claims: list[Claim] = []
    for each, label in labels.items():
        text, head = label.text, label.head
        name_words = len(words_of(label.name))
        head_words = name_words + len(words_of(label.qualifier))
        claims.append(Claim(each, text, NameKind.LABEL, name_words, head_words))
        if head != text:
            claims.append(Claim(each, head, NameKind.HEAD, name_words, head_words))
    return claims


def _kept(kind: NameKind) -> NameKind:
    return kind if kind in (NameKind.GIVEN, NameKind.MOVED) else NameKind.KEPT


NameValues = tuple[str, str, str, str, str, int, int]


def name_values(claims: Iterable[Claim], artifact_of: Callable[[str], str]) -> Iterable[NameValues]:
    """Values of ``NAME_COLUMNS``; of claims to one name, the first counts.

    Args:
        claims: The names that features are to have.
        artifact_of: From a feature's id to its SAE's.
    """
    rows: dict[tuple[str, str], NameValues] = {}
    for feature, name, kind, name_words, head_words in claims:
        key = fold(name)
        values = (feature, artifact_of(feature), name, key, kind.value, name_words, head_words)
        rows.setdefault((feature, key), values)
    return rows.values()
