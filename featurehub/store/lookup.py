"""How a key finds its feature.

A key is tried, in the SAEs of the scope, as
1. ``sae:<artifact>/<latent>``, the artifact by id, name, alias or an unambiguous prefix of one;
2. an id;
3. an alias or group of the scope's owner alone, then a current label in full or a group of everyone's, then a label's
   head, then a kept or given alias, then a moved name, then a slug, in upper or lower case;
4. what was a name, slug or id of a feature before its SAE was refreshed (``refreshes``).
The first step at which a feature or group answers decides; where several answer at that step, the key is ambiguous. (So
``banking`` means the feature with exactly that label, not one labelled ``banking: loan`` or once called ``banking``.)

However many keys there are, one statement per batch reads every feature that may be meant, and every group with its
members.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from rapidfuzz import fuzz, process
from sqlalchemy.orm import Session

from featurehub.errors import AmbiguousFeature, ArtifactNotFound, FeatureNotFound, NotFound
from featurehub.features import Feature
from featurehub.groups import FeatureGroup
from featurehub.names import fold, words_of
from featurehub.records import ResolvedGroup, Scope
from featurehub.settings import Limits
from featurehub.store.claims import CANDIDATES, Claims
from featurehub.store.directory import Directory
from featurehub.store.groups import whole
from featurehub.store.matching import find_alike
from featurehub.store.nearest import EVERY
from featurehub.store.only import bounds_of
from featurehub.store.refreshes import former_feature
from featurehub.store.rows import BATCH, batches
from featurehub.store.sql import statement
from featurehub.store.statistics import id_of

__all__ = ["closest_names", "find_features", "find_named", "saes_of"]

ADDRESS = "sae:"
SUGGESTIONS = 3
# Below this likeness (0..100) a suggestion would be noise.
LIKENESS = 50
LOOKED_AT = 100
"""Names, of which those are suggested that are most similar."""
SHOWN = 5
NAME_CHARS = Limits().name_chars
FORMS = 3
"""Number of ways in which a key is looked up: as an id, a slug and a name."""

NAMES = statement(
    """
    SELECT feature_id, name, key, length(name) AS length, id AS place
    FROM names WHERE feature_id IN :ids AND owner IN ('', :owner)
    UNION ALL SELECT id, name, key, 0, 0 FROM feature_groups
    WHERE owner IN ('', :owner) AND id IN (SELECT group_id FROM group_members WHERE artifact_id IN :saes)
    ORDER BY feature_id, length, place
    """,
    "ids",
    "saes",
)


def saes_of(directory: Directory, scope: Scope) -> tuple[str, ...]:
    """The ids of the scope's SAEs.

    Raises:
        ArtifactNotFound: One of them is not registered any more.
    """
    if scope.saes is None:
        return tuple(directory.artifacts)
    return tuple(held(directory, each) for each in scope.saes)


def held(directory: Directory, sae: str) -> str:
    """The id of one of the scope's SAEs. Raises ArtifactNotFound where it was removed since it was loaded, say."""
    try:
        return directory.find(sae).id
    except ArtifactNotFound as error:
        raise ArtifactNotFound(
            f"the SAE {sae[:12]} is in use here and is not registered any more, so its features have no names: "
            f"register it again, or use others. {error.message}"
        ) from error


def find_features(session: Session, keys: Iterable[str], directory: Directory, scope: Scope) -> dict[str, Feature]:
    """The feature that each key means; ``find_named`` where none may be a group.

    Raises:
        FeatureNotFound: As ``find_named``, or a key means a group; the error carries labels of its members.
        AmbiguousFeature, ArtifactNotFound: As ``find_named``.
    """
    found: dict[str, Feature] = {}
    for key, each in find_named(session, keys, directory, scope).items():
        if isinstance(each, ResolvedGroup):
            members = ", ".join(f"{one.id} ({one.label!r})" for one in each.features)
            labels = [one.label or one.id for one in each.features[:SUGGESTIONS]]
            problem = f"{key!r} is a group of {len(each.features)} features; name one of them: {members}"
            raise FeatureNotFound(problem, param=key, suggestions=labels)
        found[key] = each
    return found


def find_named(
    session: Session, keys: Iterable[str], directory: Directory, scope: Scope
) -> dict[str, Feature | ResolvedGroup]:
    """The feature or group that each key means.

    Args:
        session: A session that reads.
        keys: Labels, heads, aliases, slugs, ids, addresses or names of groups.
        directory: The registered artifacts.
        scope: The artifacts to look in.

    Returns:
        The features and groups by key.

    Raises:
        FeatureNotFound: A key means nothing, or a group that is not whole in the scope; the error carries the closest
            names, and the key as ``param``.
        FeatureRetired: A key was a feature's before its SAE was refreshed, and none means it any more.
        AmbiguousFeature: A key means several features or groups; the error carries their ids, and the key as ``param``.
        ArtifactNotFound: A key or the scope names an SAE that is not registered.
    """
    asked = list(dict.fromkeys(keys))
    saes = saes_of(directory, scope)
    claims = _claims(session, asked, directory, saes, scope.owner)
    found: dict[str, Feature | ResolvedGroup] = {}
    for key in asked:
        try:
            found[key] = _the_one(session, key, claims, directory, saes, scope.owner)
        except (NotFound, AmbiguousFeature) as error:
            error.param = key
            raise
    return found


def closest_names(session: Session, key: str, saes: Sequence[str], owner: str) -> tuple[str, ...]:
    """Up to three names like ``key``, each of another feature or group of these SAEs (by id), most similar first.

    They are everyone's names, and those of the owner.
    """
    hits = find_alike(session, words_of(_cut(key)), saes, bounds_of(EVERY) | {"owner": owner})
    near = process.extract(fold(_cut(key)), [each.name or "" for each in hits], scorer=fuzz.WRatio, limit=LOOKED_AT)
    rows = session.execute(NAMES, {"ids": [hits[at].id for _, _, at in near], "saes": saes, "owner": owner}).all()
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
    rows: list[Sequence[Any]] = []
    for batch in batches(keys, BATCH // FORMS):
        addressed = {id for key in batch if (id := _addressed(key, directory)) is not None}
        plain = [_cut(key) for key in batch if not _is_address(key)]
        asked = {
            "keys": list({fold(key) for key in plain}),
            "ids": list(addressed | {key.strip() for key in plain}),
            # Each is looked up in each SAE, so that what cannot be a slug is left out.
            "slugs": list({slug for key in plain if " " not in (slug := key.strip().lower())}),
        }
        rows += session.execute(CANDIDATES, {**asked, "saes": saes, "owner": owner})
    return Claims.of(rows, saes)


def _the_one(
    session: Session, key: str, claims: Claims, directory: Directory, saes: Sequence[str], owner: str
) -> Feature | ResolvedGroup:
    if _is_address(key):
        return _at(key, claims, directory, saes)
    ids = claims.strongest(_cut(key))
    if len(ids) > 1:
        raise AmbiguousFeature(_ambiguity(key, ids, claims, directory), candidates=ids)
    if ids and ids[0] in claims.features:
        return claims.features[ids[0]].value
    groups = [claims.groups[each] for each in ids] or [each for each in claims.elsewhere.values() if _means(key, each)]
    if groups:
        return whole(groups[0], claims.members, directory, saes)
    if (former := former_feature(session, _cut(key), directory, saes, owner)) is not None:
        return former
    close = closest_names(session, key, saes, owner)
    hint = "; the closest names are " + ", ".join(map(repr, close)) if close else ""
    raise FeatureNotFound(f"no feature is called {key!r}{hint}", suggestions=close)


def _means(key: str, group: FeatureGroup) -> bool:
    return key.strip() == group.id or fold(_cut(key)) == fold(group.name)


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


def _ambiguity(key: str, ids: Sequence[str], claims: Claims, directory: Directory) -> str:
    groups = sum(each in claims.groups for each in ids)
    what = "features" if not groups else "groups" if groups == len(ids) else "features and groups"
    shown = ", ".join(_candidate(each, claims, directory) for each in ids[:SHOWN])
    more = "" if len(ids) <= SHOWN else f" and {len(ids) - SHOWN} more"
    return f"{key!r} names {len(ids)} {what}: {shown}{more}; use an id, or the address after it"


def _candidate(id: str, claims: Claims, directory: Directory) -> str:
    if id in claims.groups:
        return f"{id} (the group {claims.groups[id].name!r})"
    feature = claims.features[id].value
    return f"{id} ({feature.label!r}, {ADDRESS}{directory.artifacts[feature.artifact].name}/{feature.latent})"
