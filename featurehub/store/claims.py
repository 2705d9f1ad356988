"""What the keys of a request may mean: features and groups, by what they answer to."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from featurehub.features import Feature
from featurehub.groups import FeatureGroup
from featurehub.names import fold
from featurehub.store.groups import GROUP_COLUMNS, groups_of, reaches
from featurehub.store.names import NameKind
from featurehub.store.rows import COLUMNS, WITH_NAMES, NamedFeature, gathered
from featurehub.store.sql import statement

__all__ = ["CANDIDATES", "Claims"]

BY_ID, BY_SLUG = -1, len(NameKind)
"""Ranks of claims by id and by slug, which are not names."""
WIDTH = COLUMNS.count(",") + 1
"""Where in a row of ``CANDIDATES`` the columns of groups begin."""

RANKS = " ".join(f"WHEN '{kind}' THEN {kind.rank}" for kind in NameKind)
# Of the features that share a name, only those with the strongest claim are read: there may be thousands of others.
# CROSS JOIN and || '' make SQLite look up a few names instead of scanning all features of an SAE; PostgreSQL does so
# by itself.
CANDIDATES = statement(
    f"""
    WITH claims AS (
        SELECT n.feature_id, n.key, CASE n.kind {RANKS} END AS strength
        FROM names AS n CROSS JOIN features
        WHERE n.key IN :keys AND n.owner IN ('', :owner)
            AND features.id = n.feature_id AND features.artifact_id || '' IN :saes
    ), ranked AS (
        SELECT feature_id, strength, min(strength) OVER (PARTITION BY key) AS strongest FROM claims
    ), found AS (
        SELECT member.feature_id AS id, member.group_id, member.place
        FROM feature_groups AS own JOIN group_members AS member ON member.group_id = own.id
        WHERE (own.key IN :keys OR own.id IN :ids) AND own.owner IN ('', :owner)
        UNION SELECT id, NULL, NULL FROM features WHERE id IN :ids AND artifact_id || '' IN :saes
        UNION SELECT id, NULL, NULL FROM features WHERE slug IN :slugs AND artifact_id IN :saes
        UNION SELECT feature_id, NULL, NULL FROM ranked WHERE strength = strongest
    )
    SELECT {COLUMNS}, {GROUP_COLUMNS}
    FROM found LEFT JOIN features AS f ON f.id = found.id {WITH_NAMES}
        LEFT JOIN feature_groups AS g ON g.id = found.group_id
        LEFT JOIN group_members AS m ON m.group_id = found.group_id AND m.place = found.place
    ORDER BY names.id
    """,
    "keys", "ids", "slugs", "saes",
)  # fmt: skip


class Claims(NamedTuple):
    """The features and groups that may be meant, and what they answer to.

    Attributes:
        features: By id.
        groups: By id, those of the scope.
        elsewhere: By id, those that no SAE of the scope has a member of.
        members: The features of all groups, by id; those that are gone are left out.
        slugs: Ids of features, by slug.
        names: Rank of the name and id of the feature or group, by folded name.
    """

    features: Mapping[str, NamedFeature]
    groups: Mapping[str, FeatureGroup]
    elsewhere: Mapping[str, FeatureGroup]
    members: Mapping[str, Feature]
    slugs: Mapping[str, Sequence[str]]
    names: Mapping[str, Sequence[tuple[int, str]]]

    @classmethod
    def of(cls, rows: Iterable[Sequence[Any]], saes: Sequence[str]) -> "Claims":
        """Sorts what is in rows of ``CANDIDATES`` by what it answers to."""
        of_features, of_groups = _parted(rows)
        features, groups = gathered(of_features), groups_of(row[WIDTH:] for row in of_groups)
        members = {id: each.value for id, each in gathered(row for row in of_groups if row[0] is not None).items()}
        slugs: dict[str, list[str]] = {}
        names: dict[str, list[tuple[int, str]]] = {}
        for id, each in features.items():
            slugs.setdefault(each.row[3], []).append(id)
            for _, key, kind in each.names:
                names.setdefault(key, []).append((NameKind(kind).rank, id))
        near = {id: each for id, each in groups.items() if reaches(each, saes)}
        for id, each in near.items():
            names.setdefault(fold(each.name), []).append((_kind_of(each).rank, id))
        far = {id: each for id, each in groups.items() if id not in near}
        return cls(features, near, far, members, slugs, names)

    def strongest(self, key: str) -> list[str]:
        """Ids of the features and groups with the strongest claim to the key."""
        exact = key.strip()
        claims = [(BY_ID, exact)] if exact in self.features or exact in self.groups else []
        claims += [(BY_SLUG, each) for each in self.slugs.get(exact.lower(), ())]
        claims += self.names.get(fold(key), ())
        best = min((rank for rank, _ in claims), default=0)
        return sorted({each for rank, each in claims if rank == best})


def _parted(rows: Iterable[Sequence[Any]]) -> tuple[list[Sequence[Any]], list[Sequence[Any]]]:
    """The rows of features, and those of members of groups."""
    parts: tuple[list[Sequence[Any]], list[Sequence[Any]]] = ([], [])
    for row in rows:
        parts[row[WIDTH] is not None].append(row)
    return parts


def _kind_of(group: FeatureGroup) -> NameKind:
    """The claim of a group's name: a group of everyone's is called so as a feature is by its label."""
    return NameKind.OWN if group.owner else NameKind.LABEL
