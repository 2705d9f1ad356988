"""Variants in the feature database: names that stand for edits on a model, in versions that never change.

An owner's variant goes before everyone's of the same name. ``new_variants`` saves them.
"""

import json
from collections.abc import Collection, Iterator
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import Row, func, select
from sqlalchemy.orm import Session

from featurehub.errors import VariantNotFound
from featurehub.store.refreshes import fates_of
from featurehub.store.schema import VariantRecord, VersionRecord
from featurehub.variants import VARIANTS_MAX, VERSIONS_MAX, StoredVariant, parse_variant, parts_of

__all__ = ["VariantHead", "Variants", "unknown"]

COLUMNS = (
    VariantRecord.name, VersionRecord.version, VariantRecord.owner, VersionRecord.model, VersionRecord.description,
    VersionRecord.created, VersionRecord.definition,
)  # fmt: skip


class VariantHead(NamedTuple):
    """A variant without what it does.

    Attributes:
        name: Its name.
        model: The model that answers.
        created: When its latest version was saved, in seconds since 1970.
    """

    name: str
    model: str
    created: int


class Variants:
    """The variants that one snapshot holds.

    Args:
        session: The session to read through.
    """

    def __init__(self, session: Session) -> None:
        self._session = session

    def list(self, owner: str = "", limit: int = VARIANTS_MAX, after: str = "") -> tuple[StoredVariant, ...]:
        """The latest versions of the variants that an owner knows, by name.

        Args:
            owner: The owner; "" for those of everyone.
            limit: How many at most.
            after: Only names that come after this one.
        """
        query = select(VariantRecord.name, VariantRecord.id).where(VariantRecord.owner.in_(("", owner)))
        # Everyone's first, so that the owner's take their place. Sorted here: how texts are ordered is a setting.
        rows = self._session.execute(query.order_by(VariantRecord.owner))
        ids: dict[str, str] = {row.name: row.id for row in rows}
        wanted = [ids[name] for name in sorted(ids) if name > after][:limit]
        found = self._versions(VariantRecord.id.in_(wanted), VersionRecord.version == VariantRecord.latest)
        return tuple(sorted(found, key=lambda each: each.name))

    def heads(self, owner: str = "") -> tuple[VariantHead, ...]:
        """What lists of models show of the variants that an owner knows, by name."""
        rows = self._session.execute(
            select(VariantRecord.name, VersionRecord.model, VersionRecord.created)
            .join(VersionRecord, VersionRecord.variant_id == VariantRecord.id)
            .where(VariantRecord.owner.in_(("", owner)), VersionRecord.version == VariantRecord.latest)
            .order_by(VariantRecord.owner)
        )
        found = {
            name: VariantHead(name, model, int(datetime.fromisoformat(at).timestamp())) for name, model, at in rows
        }
        return tuple(found[name] for name in sorted(found))

    def find(self, key: str, owner: str = "") -> StoredVariant | None:
        """The version that ``name`` (the latest) or ``name@version`` means; None where there is no such variant.

        Raises:
            VariantNotFound: There is the variant, but no such version of it.
        """
        if (parsed := parse_variant(key)) is None or (head := self._head(parsed[0], owner)) is None:
            return None
        id, latest = head
        version = parsed[1] or latest
        found = next(self._versions(VariantRecord.id == id, VersionRecord.version == version), None)
        if found is None:
            raise VariantNotFound(f"{parsed[0]!r} has no version {version}; its latest is {latest}", param="model")
        return found

    def get(self, key: str, owner: str = "") -> StoredVariant:
        """``find``, which raises VariantNotFound where there is no such variant, too."""
        if (found := self.find(key, owner)) is None:
            raise unknown(key)
        return found

    def versions(
        self, name: str, owner: str = "", limit: int = VERSIONS_MAX, after: int | None = None
    ) -> tuple[StoredVariant, ...]:
        """The versions of a variant, latest first.

        Args:
            name: The variant's name.
            owner: Who asks.
            limit: How many at most.
            after: Only versions before this one.

        Raises:
            VariantNotFound: There is no such variant.
        """
        if (head := self._head(name, owner)) is None:
            raise unknown(name)
        before = [] if after is None else [VersionRecord.version < after]
        return tuple(self._versions(VariantRecord.id == head[0], *before, limit=limit))

    def with_fates(self, variant: StoredVariant, saes: Collection[str]) -> StoredVariant:
        """The variant with what became of its features whose SAE was refreshed.

        Args:
            variant: The variant.
            saes: Ids of the SAEs in use; features that lie in these are what they were.
        """
        away = {name: each.id for name, each in parts_of(variant).items() if each.artifact not in saes}
        found = fates_of(self._session, away.values(), saes)
        return variant.model_copy(update={"fates": {name: found[id] for name, id in away.items() if id in found}})

    def _head(self, name: str, owner: str) -> tuple[str, int] | None:
        """The id and latest version of the variant that a name means to an owner."""
        query = select(VariantRecord.id, VariantRecord.latest).where(
            VariantRecord.name == name, VariantRecord.owner.in_(("", owner))
        )
        found = self._session.execute(query.order_by(func.length(VariantRecord.owner).desc())).first()
        return None if found is None else (found[0], found[1])

    def _versions(self, *which: object, limit: int = VARIANTS_MAX) -> Iterator[StoredVariant]:
        query = select(*COLUMNS).join(VersionRecord, VersionRecord.variant_id == VariantRecord.id).where(*which)  # type: ignore[arg-type]
        return map(variant_of, self._session.execute(query.order_by(VersionRecord.version.desc()).limit(limit)))


def variant_of(row: Row) -> StoredVariant:
    """A version from a row of ``COLUMNS``."""
    name, version, owner, model, description, created, definition = row
    return StoredVariant(
        name=name, version=version, owner=owner, model=model, description=description, created=created,
        **json.loads(definition),
    )  # fmt: skip


def unknown(key: str) -> VariantNotFound:
    return VariantNotFound(f"no variant is called {key!r}; `featurehub variants list` lists them", param="name")
