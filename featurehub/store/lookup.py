"""How a key finds its feature.

A key is tried, in the SAEs of the scope, as
1. ``sae:<artifact>/<latent>``, the artifact by id, name, alias or an unambiguous prefix of one;
2. an id;
3. an alias that the scope's owner gave for themselves, then a current label in full, then a label's head, then a kept
   or given alias, then a slug, in upper or lower case.
The first step at which a feature answers decides; where several answer at that step, the key is ambiguous. (So
``banking`` means the feature with exactly that label, not one labelled ``banking: loan`` or once called ``banking``.)

However many keys there are, one statement per batch reads every feature that may be meant.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from rapidfuzz import fuzz, process
from sqlalchemy.orm import Session

from featurehub.errors import AmbiguousFeature, FeatureNotFound, NotFound
from featurehub.features import Feature
from featurehub.names import fold, words_of
from featurehub.records import Scope
from featurehub.settings import Limits
from featurehub.store.directory import Directory
from featurehub.store.matching import find_alike
from featurehub.store.names import NameKind
from featurehub.store.nearest import EVERY
from featurehub.store.only import bounds_of
from featurehub.store.rows import BATCH, COLUMNS, WITH_NAMES, NamedFeature, batches, named
from featurehub.store.sql import statement
from featurehub.store.statistics import id_of

__all__ = ["closest_names", "find_features", "saes_of"]

ADDRESS = "sae:"
SUGGESTIONS = 3
# Below this likeness (0..100) a suggestion would be noise.
LIKENESS = 50
LOOKED_AT = 100
"""Names, of which those are suggested that are most similar."""
SHOWN = 5
NAME_CHARS = Limits().name_chars
BY_ID, BY_SLUG = -1, len(NameKind)
"""Ranks of claims by id and by slug, which are not names."""
FORMS = 3
"""Number of ways in which a key is looked up: as an id, a slug and a name."""

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
        SELECT id FROM features WHERE id IN :ids AND artifact_id || '' IN :saes
        UNION SELECT id FROM features WHERE slug IN :slugs AND artifact_id IN :saes
        UNION SELECT feature_id FROM ranked WHERE strength = strongest
    )
    SELECT {COLUMNS}
    FROM found JOIN features AS f ON f.id = found.id {WITH_NAMES}
    ORDER BY names.id
    """,
    "keys", "ids", "slugs", "saes",
)  # fmt: skip
NAMES = statement(
    "SELECT feature_id, name, key FROM names WHERE feature_id IN :ids AND owner IN ('', :owner)"
    " ORDER BY feature_id, length(name), id",
    "ids",
)


class Claims(NamedTuple):
    """The features that may be meant, and what they answer to.

    Attributes:
        features: By id.
        slugs: Ids of features, by slug.
        names: Rank of the name and id of the feature, by folded name.
    """

    features: Mapping[str, NamedFeature]
    slugs: Mapping[str, Sequence[str]]
    names: Mapping[str, Sequence[tuple[int, str]]]

    @classmethod
    def of(cls, features: Mapping[str, NamedFeature]) -> "Claims":
        """Sorts features by what they answer to."""
        slugs: dict[str, list[str]] = {}
        names: dict[str, list[tuple[int, str]]] = {}
        for id, each in features.items():
            slugs.setdefault(each.row[3], []).append(id)
            for _, key, kind in each.names:
                names.setdefault(key, []).append((NameKind(kind).rank, id))
        return cls(features, slugs, names)

    def strongest(self, key: str) -> list[str]:
        """Ids of the features with the strongest claim to the key."""
        exact = key.strip()
        claims = [(BY_ID, exact)] if exact in self.features else []
        claims += [(BY_SLUG, each) for each in self.slugs.get(exact.lower(), ())]
        claims += self.names.get(fold(key), ())
        best = min((rank for rank, _ in claims), default=0)
        return sorted({each for rank, each in claims if rank == best})


def saes_of(directory: Directory, scope: Scope) -> tuple[str, ...]:
    """The ids of the scope's SAEs.

    Raises:
        ArtifactNotFound: One of them is not registered any more.
    """
    if scope.saes is None:
        return tuple(directory.artifacts)
    return tuple(directory.find(each).id for each in scope.saes)


def find_features(session: Session, keys: Iterable[str], directory: Directory, scope: Scope) -> dict[str, Feature]:
    """The feature that each key means.

    Args:
        session: A session that reads.
        keys: Labels, heads, aliases, slugs, ids or addresses.
        directory: The registered artifacts.
        scope: The artifacts to look in.

    Returns:
        The features by key.

    Raises:
        FeatureNotFound: A key means nothing; the error carries the closest names, and the key as ``param``.
        AmbiguousFeature: A key means several features; the error carries their ids, and the key as ``param``.
        ArtifactNotFound: A key or the scope names an SAE that is not registered.
    """
    asked = list(dict.fromkeys(keys))
    saes = saes_of(directory, scope)
    claims = _claims(session, asked, directory, saes, scope.owner)
    found: dict[str, Feature] = {}
    for key in asked:
        try:
            found[key] = _the_one(session, key, claims, directory, saes, scope.owner)
        except (NotFound, AmbiguousFeature) as error:
            error.param = key
            raise
    return found


def closest_names(session: Session, key: str, saes: Sequence[str], owner: str) -> tuple[str, ...]:
    """Up to three names like ``key``, each of another feature of these SAEs (by id), most similar first.

    They are everyone's names, and those of the owner.
    """
    hits = find_alike(session, words_of(_cut(key)), saes, bounds_of(EVERY) | {"owner": owner})
    near = process.extract(fold(_cut(key)), [each.name or "" for each in hits], scorer=fuzz.WRatio, limit=LOOKED_AT)
    rows = session.execute(NAMES, {"ids": [hits[at].id for _, _, at in near], "owner": owner}).all()
    alike = process.extract(
        fold(_cut(key)),
        [row.key for row in rows],
        scorer=fuzz.WRatio,
        score_cutoff=LIKENESS,
        limit=SUGGESTIONS * 4,
    )
    names = {rows[at].feature_id: rows[at].name for _, _, at in reversed(alike)}
    order = dict.fromkeys(rows[at].feature_id for _, _, at in alike)
    return tuple(dict.fromkeys(names[each] for each in order))[:SUGGESTIONS]


def _claims(session: Session, keys: Sequence[str], directory: Directory, saes: Sequence[str], owner: str) -> Claims:
    found: dict[str, NamedFeature] = {}
    for batch in batches(keys, BATCH // FORMS):
        addressed = {id for key in batch if (id := _addressed(key, directory)) is not None}
        plain = [_cut(key) for key in batch if not _is_address(key)]
        found |= named(
            session,
            CANDIDATES,
            keys=list({fold(key) for key in plain}),
            ids=list(addressed | {key.strip() for key in plain}),
            slugs=list({key.strip().lower() for key in plain}),
            saes=saes,
            owner=owner,
        )
    return Claims.of(found)


def _the_one(
    session: Session, key: str, claims: Claims, directory: Directory, saes: Sequence[str], owner: str
) -> Feature:
    if _is_address(key):
        return _at(key, claims, directory, saes)
    ids = claims.strongest(_cut(key))
    if len(ids) == 1:
        return claims.features[ids[0]].value
    if ids:
        shown = [claims.features[each].value for each in ids[:SHOWN]]
        raise AmbiguousFeature(_ambiguity(key, shown, len(ids), directory), candidates=ids)
    close = closest_names(session, key, saes, owner)
    hint = "; the closest names are " + ", ".join(map(repr, close)) if close else ""
    raise FeatureNotFound(f"no feature is called {key!r}{hint}", suggestions=close)


def _at(key: str, claims: Claims, directory: Directory, saes: Sequence[str]) -> Feature:
    owner, latent = _address(key, directory)
    if owner not in saes:
        loaded = "the one in use" if len(saes) == 1 else "one of those in use"
        raise FeatureNotFound(f"{key!r} lies in artifact {directory.artifacts[owner].name!r}, which is not {loaded}")
    if (found := claims.features.get(id_of(owner, latent))) is None:
        raise FeatureNotFound(f"artifact {directory.artifacts[owner].name!r} has no live latent {latent}")
    return found.value


def _cut(key: str) -> str:
    return key[:NAME_CHARS]


def _is_address(key: str) -> bool:
    return key[: len(ADDRESS)].lower() == ADDRESS


def _address(key: str, directory: Directory) -> tuple[str, int]:
    """The artifact's id and the latent. Raises FeatureNotFound where it is not an address, ArtifactNotFound."""
    name, _, latent = key[len(ADDRESS) :].rpartition("/")
    if not (name and latent.isascii() and latent.isdigit() and len(latent) < 10):
        raise FeatureNotFound(f"{key!r} is not an address; write sae:<artifact>/<latent>, e.g. sae:demo-l2/123")
    return directory.find(name).id, int(latent)


def _addressed(key: str, directory: Directory) -> str | None:
    """The id of the feature at an address; None for any other key, and for an address that leads nowhere."""
    try:
        return id_of(*_address(key, directory)) if _is_address(key) else None
    except NotFound:
        return None


def _ambiguity(key: str, features: Sequence[Feature], count: int, directory: Directory) -> str:
    shown = [
        f"{each.id} ({each.label!r}, {ADDRESS}{directory.artifacts[each.artifact].name}/{each.latent})"
        for each in features
    ]
    more = "" if count <= len(shown) else f" and {count - len(shown)} more"
    return f"{key!r} names {count} features: {', '.join(shown)}{more}; use an id, or the address after it"
