"""Saving variants and removing them.

1. Saving makes the next version: the number of the latest, plus 1. Writers take turns, so there is no gap and no number
   twice. What equals the latest version is not saved again.
2. The names in a version are looked up when it is saved, and what they mean is saved with it.
3. Removing a variant removes all its versions; a name that is saved anew begins at 1.
"""

import hashlib
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from sqlalchemy import delete, func, insert, select, update
from sqlalchemy.orm import Session

from featurehub.conditions import FeatureAbort, FeatureWhen
from featurehub.errors import InvalidInput
from featurehub.features import Edit, Feature
from featurehub.groups import DESCRIPTION_CHARS, FeatureGroup
from featurehub.records import ResolvedGroup, Scope
from featurehub.store.directory import Directory
from featurehub.store.lookup import find_named
from featurehub.store.schema import OWNER_CHARS, VariantRecord, VersionRecord
from featurehub.store.variants import Variants, unknown
from featurehub.variants import (
    DEFINITION_CHARS,
    MODEL_CHARS,
    VARIANTS_MAX,
    VERSIONS_MAX,
    PinnedFeature,
    StoredVariant,
    parse_variant,
)

__all__ = ["WritableVariants"]

DEFINITION = {"features", "abort_when", "pinned", "groups"}
"""The fields of a version that are stored as JSON."""


class WritableVariants(Variants):
    """The variants, in a transaction that writes.

    Args:
        session: The session to write through.
        directory: The registered artifacts.
    """

    def __init__(self, session: Session, directory: Directory) -> None:
        super().__init__(session)
        self._directory = directory

    def save(
        self, name: str, model: str, features: Mapping[str, Edit], abort_when: Sequence[FeatureAbort] = (),
        scope: Scope = Scope(), *, description: str = "",  # noqa: B008 (frozen)
    ) -> StoredVariant:  # fmt: skip
        """Saves the next version of a variant; the latest itself where nothing of it would change.

        Args:
            name: The name.
            model: The model that answers.
            features, abort_when: Its edits by name, and its aborts.
            scope: Where names are looked up; nobody but its owner knows the variant, and with "" everyone does.
            description: What it is for.

        Raises:
            FeatureNotFound, AmbiguousFeature, ArtifactNotFound: As ``Reader.resolve_named``; ``param`` is the name.
            InvalidInput: Something is out of bounds, or a condition names a group.
        """
        check(name, model, features, abort_when, scope.owner, description)
        pinned, groups = self._meant(features, abort_when, scope)
        id = self._own(name, scope.owner)
        latest = None if id is None else self.get(name, scope.owner)
        number = 1 if latest is None else latest.version + 1
        created = datetime.now(UTC).isoformat(timespec="seconds")
        made = StoredVariant(
            name=name, version=number, owner=scope.owner, model=model, features=dict(features),
            abort_when=tuple(abort_when), pinned=pinned, groups=groups, description=description, created=created,
        )  # fmt: skip
        if latest is not None and content(made) == content(latest):
            return latest
        self._put(made, id or self._begin(name, scope.owner))
        return made

    def remove(self, name: str, owner: str = "") -> None:
        """Removes an owner's variant with all its versions. Raises VariantNotFound."""
        if (id := self._own(name, owner)) is None:
            raise unknown(name)
        self._session.execute(delete(VariantRecord).where(VariantRecord.id == id))

    def _meant(
        self, features: Mapping[str, Edit], abort_when: Sequence[FeatureAbort], scope: Scope
    ) -> tuple[dict[str, PinnedFeature], dict[str, FeatureGroup]]:
        """What the names mean now: features, and groups."""
        watched = names_watched(features, abort_when)
        named = find_named(self._session, {**features, **watched}, self._directory, scope)
        groups = {name: each.group for name, each in named.items() if isinstance(each, ResolvedGroup)}
        if wrong := [name for name in watched if name in groups]:
            raise InvalidInput(
                f"{wrong[0]!r} is a group, and a condition waits for one feature; name one of its members",
                param=wrong[0],
            )
        pinned = {name: pin(each) for name, each in named.items() if isinstance(each, Feature)}
        edited = [each.id for name in features for each in (groups[name].members if name in groups else [pinned[name]])]
        if len(set(edited)) < len(edited):
            raise InvalidInput("two of the names edit one feature; name each feature once", param="features")
        return pinned, groups

    def _own(self, name: str, owner: str) -> str | None:
        """The id of the variant that is this owner's own."""
        query = select(VariantRecord.id).where(VariantRecord.name == name, VariantRecord.owner == owner)
        return self._session.scalars(query).first()

    def _begin(self, name: str, owner: str) -> str:
        count = select(func.count()).where(VariantRecord.owner == owner)
        if (self._session.scalar(count) or 0) >= VARIANTS_MAX:
            raise InvalidInput(f"there are {VARIANTS_MAX} variants already; remove one first", param="name")
        id = f"v_{hashlib.sha256(f'{owner}/{name}'.encode()).hexdigest()[:16]}"
        self._session.execute(insert(VariantRecord).values(id=id, name=name, owner=owner, latest=0))
        return id

    def _put(self, made: StoredVariant, id: str) -> None:
        if made.version > VERSIONS_MAX:
            raise InvalidInput(
                f"{made.name!r} has {VERSIONS_MAX} versions already; save it under another name", param="name"
            )
        definition = made.model_dump_json(include=DEFINITION)
        if len(definition) > DEFINITION_CHARS:
            raise InvalidInput(
                f"a variant has at most {DEFINITION_CHARS:,} characters as JSON, not {len(definition):,}; "
                "send fewer features or conditions",
                param="features",
            )
        row = {"variant_id": id, "definition": definition}
        row |= {key: getattr(made, key) for key in ("version", "model", "description", "created")}
        self._session.execute(insert(VersionRecord).values(row))
        self._session.execute(update(VariantRecord).where(VariantRecord.id == id).values(latest=made.version))


def check(
    name: str, model: str, features: Mapping[str, Edit], abort_when: Sequence[FeatureAbort], owner: str,
    description: str,
) -> None:  # fmt: skip
    """Refuses what no request could use. Raises InvalidInput."""
    parsed = parse_variant(name)
    if parsed is None or parsed != (name, None):
        raise InvalidInput(
            f"{name!r} cannot name a variant: 1 to 100 ASCII letters, digits, dots, hyphens and underscores, the first "
            "a letter or digit",
            param="name",
        )
    if not 1 <= len(model) <= MODEL_CHARS:
        raise InvalidInput(f"a model's name has 1 to {MODEL_CHARS} characters, not {len(model)}", param="model")
    if not features and not abort_when:
        raise InvalidInput("a variant has at least one edit or abort", param="features")
    if len(owner) > OWNER_CHARS:
        raise InvalidInput(f"an owner has at most {OWNER_CHARS} characters, not {len(owner)}", param="owner")
    if len(description) > DESCRIPTION_CHARS:
        raise InvalidInput(f"a description has at most {DESCRIPTION_CHARS} characters", param="description")


def names_watched(features: Mapping[str, Edit], abort_when: Sequence[FeatureAbort]) -> dict[str, None]:
    """The names in conditions, each once."""
    conditions: list[FeatureWhen | None] = [edit.when for edit in features.values()]
    conditions += [abort.when for abort in abort_when]
    return {condition.feature: None for when in conditions for condition in when or ()}


def content(variant: StoredVariant) -> dict[str, object]:
    """All of a version but its number and date, and what became of its features since."""
    return variant.model_dump(mode="json", exclude={"version", "created", "fates"})


def pin(feature: Feature) -> PinnedFeature:
    return PinnedFeature(id=feature.id, artifact=feature.artifact, latent=feature.latent, label=feature.label)
