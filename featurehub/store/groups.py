"""Groups of features: names that stand for several.

1. A name means one group of each owner. Saving it again puts the new members in place of the old.
2. A member whose feature is gone, or lies in no SAE of the scope, stays a member: the group is shown with it, and
   cannot be used (``whole``). It can again once that SAE is registered anew, since features' ids stay.
3. A group is in a scope when one of its members lies in an SAE of it.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import delete, func, insert, select
from sqlalchemy.orm import Session

from featurehub.errors import FeatureNotFound, InvalidInput
from featurehub.features import Feature
from featurehub.groups import DESCRIPTION_CHARS, GROUPS_MAX, MEMBERS_MAX, FeatureGroup, GroupMember
from featurehub.names import fold, words_of
from featurehub.records import ResolvedGroup, Scope
from featurehub.settings import Limits
from featurehub.store.directory import Directory
from featurehub.store.schema import OWNER_CHARS, GroupRecord, MemberRecord
from featurehub.store.sql import statement

__all__ = ["GROUP_COLUMNS", "FeatureGroups", "drop_group", "groups_of", "reaches", "save_group", "whole"]

NAME_CHARS = Limits().name_chars
ADDRESS = "sae:"

GROUP_COLUMNS = """
    g.id, g.name, g.owner, g.description, g.method, g.created,
    m.place, m.feature_id, m.artifact_id, m.latent, m.label, m.weight, f.label
"""
"""Columns of one row per group ``g`` and member ``m``, with the feature ``f`` that it is, if it still is one."""
WITH_WORD = statement(
    f"""
    SELECT {GROUP_COLUMNS}
    FROM feature_groups AS g JOIN group_members AS m ON m.group_id = g.id LEFT JOIN features AS f ON f.id = m.feature_id
    WHERE g.owner IN ('', :owner) AND g.words LIKE :word
    """
)


class FeatureGroups:
    """The groups of one snapshot.

    Args:
        session: The session to read through.
        directory: The registered artifacts.
    """

    def __init__(self, session: Session, directory: Directory) -> None:
        self._session = session
        self._directory = directory

    def list(self, scope: Scope) -> tuple[FeatureGroup, ...]:
        """The groups of a scope that its owner knows, by name. Raises ArtifactNotFound."""
        return self._in_scope(scope, "")

    def find(self, query: str, scope: Scope) -> tuple[FeatureGroup, ...]:
        """The groups whose name or description has every word of a query, or a word that begins with it.

        Those that are called so come first, then those with the words in their name. Raises ArtifactNotFound.
        """
        if not (words := words_of(query)):
            return ()
        found = [
            each
            for each in self._in_scope(scope, max(words, key=len))
            if _has(words, f"{each.name} {each.description}")
        ]
        return tuple(sorted(found, key=lambda each: (fold(each.name) != fold(query), not _has(words, each.name))))

    def get(self, key: str, scope: Scope) -> FeatureGroup:
        """The group with this name or id, in any SAEs: the owner's before everyone's. Raises FeatureNotFound."""
        known = groups_of(self._session.execute(WITH_WORD, {"owner": scope.owner, "word": "%"}))
        found = [each for each in known.values() if key.strip() == each.id or fold(key) == fold(each.name)]
        if not found:
            raise _unknown(key)
        return max(found, key=lambda each: (each.id == key.strip(), each.owner))

    def _in_scope(self, scope: Scope, word: str) -> tuple[FeatureGroup, ...]:
        rows = self._session.execute(WITH_WORD, {"owner": scope.owner, "word": f"%{word}%"})
        saes = {self._directory.find(each).id for each in scope.saes or ()}
        # Sorted here: how texts are ordered is a setting of a server's database.
        found = sorted(groups_of(rows).values(), key=lambda each: (fold(each.name), not each.owner))
        return tuple(each for each in found if scope.saes is None or reaches(each, saes))


def groups_of(rows: Iterable[Sequence[Any]]) -> dict[str, FeatureGroup]:
    """The groups in rows of ``GROUP_COLUMNS``, by id; the rows of a member may be several."""
    heads: dict[str, Sequence[Any]] = {}
    members: dict[str, dict[int, GroupMember]] = {}
    for row in rows:
        heads[row[0]] = row[:6]
        members.setdefault(row[0], {})[row[6]] = _member(*row[7:])
    return {
        id: FeatureGroup(
            id=id, name=name, owner=owner, description=description, method=method, created=created,
            members=tuple(each for _, each in sorted(members[id].items())),
        )
        for id, (_, name, owner, description, method, created) in heads.items()
    }  # fmt: skip


def reaches(group: FeatureGroup, saes: Iterable[str]) -> bool:
    """Whether a member lies in one of these SAEs."""
    return not {each.artifact for each in group.members}.isdisjoint(saes)


def whole(
    group: FeatureGroup, features: Mapping[str, Feature], directory: Directory, saes: Sequence[str]
) -> ResolvedGroup:
    """The group with its features.

    Args:
        group: The group.
        features: The features that there are, by id.
        directory: The registered artifacts.
        saes: Ids of the SAEs of the scope.

    Raises:
        FeatureNotFound: A member is gone, or lies in none of these SAEs.
    """
    for each in group.members:
        if each.id in features and each.artifact in saes:
            continue
        sae = directory.artifacts.get(each.artifact)
        place = f"{ADDRESS}{each.artifact[:12] if sae is None else sae.name}/{each.latent} ({each.label!r})"
        problem = "lies in an SAE that is not in use here" if each.id in features else "is not registered any more"
        raise FeatureNotFound(
            f"the group {group.name!r} cannot be used, since its member {place} {problem}: bring that SAE back, or "
            "save the group without it (`featurehub groups save`)"
        )
    return ResolvedGroup(group, tuple(features[each.id] for each in group.members))


def save_group(
    session: Session, name: str, members: Sequence[tuple[Feature, float]], owner: str, description: str, method: str
) -> FeatureGroup:
    """Saves a group of features with their weights; see ``Writer.put_group``."""
    _check(name, members, owner, description)
    key, id = fold(name), _id_of(name, owner)
    session.execute(delete(GroupRecord).where(GroupRecord.id == id))
    if (session.scalar(select(func.count()).where(GroupRecord.owner == owner)) or 0) >= GROUPS_MAX:
        raise InvalidInput(f"there are {GROUPS_MAX} groups already; remove one first", param="name")
    group = FeatureGroup(
        id=id, name=name, owner=owner, description=description, method=method,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        members=tuple(
            GroupMember(id=each.id, artifact=each.artifact, latent=each.latent, label=each.label, weight=weight)
            for each, weight in members
        ),
    )  # fmt: skip
    words = " ".join(words_of(f"{name} {description}"))
    head = {"key": key, "words": words, **group.model_dump(exclude={"object", "members"})}
    session.execute(insert(GroupRecord).values(head))
    session.execute(insert(MemberRecord), [_row(id, place, each) for place, each in enumerate(group.members)])
    return group


def drop_group(session: Session, key: str, owner: str) -> None:
    """Removes an owner's group, by its name or id. Raises FeatureNotFound."""
    ids = (key.strip(), _id_of(key, owner))
    found = session.scalars(select(GroupRecord.id).where(GroupRecord.id.in_(ids), GroupRecord.owner == owner)).first()
    if found is None:
        raise _unknown(key)
    session.execute(delete(GroupRecord).where(GroupRecord.id == found))


def _check(name: str, members: Sequence[tuple[Feature, float]], owner: str, description: str) -> None:
    """Refuses what no request could use. Raises InvalidInput."""
    if not fold(name) or len(name) > NAME_CHARS or name != name.strip() or not name.isprintable():
        raise InvalidInput(
            f"a group's name has 1 to {NAME_CHARS} visible characters, no space at its ends", param="name"
        )
    if name[: len(ADDRESS)].lower() == ADDRESS:
        raise InvalidInput(f"{name!r} looks like the address of a feature; choose another name", param="name")
    if len(owner) > OWNER_CHARS:
        raise InvalidInput(f"an owner has at most {OWNER_CHARS} characters, not {len(owner)}", param="owner")
    if len(description) > DESCRIPTION_CHARS:
        raise InvalidInput(f"a description has at most {DESCRIPTION_CHARS} characters", param="description")
    if not 1 <= len(members) <= MEMBERS_MAX:
        raise InvalidInput(f"a group has 1 to {MEMBERS_MAX} features, not {len(members)}", param="members")
    for feature, weight in members:
        if not 0.0 < abs(weight) <= 1.0:
            raise InvalidInput(
                f"the weight of {feature.id} is {weight}; it must lie in [-1, 1] and not be 0", param="members"
            )
    if len({feature for feature, _ in members}) < len(members):
        raise InvalidInput("two of the names are one feature; name each feature once", param="members")


def _id_of(name: str, owner: str) -> str:
    """The id of an owner's group of this name: the same in every database."""
    return f"g_{hashlib.sha256(f'{owner}/{fold(name)}'.encode()).hexdigest()[:16]}"


def _member(id: str, artifact: str, latent: int, label: str, weight: float, current: str | None) -> GroupMember:
    shown = label if current is None else current
    return GroupMember(id=id, artifact=artifact, latent=latent, label=shown, weight=weight, is_gone=current is None)


def _row(group: str, place: int, member: GroupMember) -> dict[str, Any]:
    return {
        "group_id": group, "place": place, "feature_id": member.id, "artifact_id": member.artifact,
        "latent": member.latent, "label": member.label, "weight": member.weight,
    }  # fmt: skip


def _has(words: Iterable[str], text: str) -> bool:
    own = words_of(text)
    return all(any(each.startswith(word) for each in own) for word in words)


def _unknown(key: str) -> FeatureNotFound:
    return FeatureNotFound(f"no group is called {key!r}; `featurehub groups list` lists them", param="name")
