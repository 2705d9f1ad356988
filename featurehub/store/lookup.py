"""How a key finds its artifact or feature.

A feature's key is tried, in the artifact that is searched or in all of them, as
1. ``sae:<artifact>/<latent>``, the artifact by id, name, alias or unambiguous prefix of one;
2. an id;
3. a current label in full, then a label's head, then a kept or given alias, then a slug, whatever the case.
The first step at which a feature answers decides; where several answer at that step, the key is ambiguous. (So
``banking`` means the feature labelled just so, not one labelled ``banking: loan`` or called ``banking`` long ago.)
"""

from collections.abc import Iterable, Sequence

from rapidfuzz import fuzz, process
from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from featurehub.errors import AmbiguousFeature, ArtifactNotFound, FeatureNotFound
from featurehub.features import Feature
from featurehub.settings import Limits
from featurehub.store.names import NameKind, fold
from featurehub.store.rows import in_artifact, load_features
from featurehub.store.schema import AliasRecord, ArtifactRecord, FeatureRecord, NameRecord

__all__ = ["closest_names", "find_artifact", "find_feature"]

ADDRESS = "sae:"
SUGGESTIONS = 3
# Below this likeness (0..100) a suggestion would be noise.
LIKENESS = 50
SHOWN = 5


def find_artifact(session: Session, key: str) -> ArtifactRecord:
    """The artifact with this id, name or alias, or unambiguous prefix of one. Raises ArtifactNotFound."""
    records = session.scalars(select(ArtifactRecord).order_by(ArtifactRecord.name)).all()
    names = {each.id: [each.id, each.name] for each in records}
    for owner, name in session.execute(select(AliasRecord.artifact_id, AliasRecord.name)):
        names[owner].append(name)
    exact = [each for each in records if key in names[each.id]]
    found = exact or [each for each in records if key and any(name.startswith(key) for name in names[each.id])]
    if len(found) == 1:
        return found[0]
    known = ", ".join(repr(each.name) for each in (found or records)[:SHOWN]) or "none: build or register one first"
    problem = f"{key!r} is the beginning of several artifacts" if found else f"there is no artifact {key!r}"
    raise ArtifactNotFound(f"{problem}; known: {known}", param="artifact")


def find_feature(session: Session, key: str, artifact: str | None = None) -> Feature:
    """The one feature that ``key`` means among those of ``artifact`` (an id), or of all.

    Raises FeatureNotFound with the closest names, AmbiguousFeature with the candidates' ids.
    """
    if key.lower().startswith(ADDRESS):
        return _by_address(session, key, artifact)
    ids = _candidates(session, key[: Limits().name_chars], artifact)
    if len(ids) == 1:
        return load_features(session, ids)[0]
    if ids:
        raise AmbiguousFeature(_ambiguity(key, load_features(session, ids[:SHOWN]), len(ids)), candidates=ids)
    raise not_found(session, key, artifact)


def not_found(session: Session, key: str, artifact: str | None) -> FeatureNotFound:
    """The error that names the closest names."""
    close = closest_names(session, key, artifact)
    hint = "; the closest names are " + ", ".join(map(repr, close)) if close else ""
    return FeatureNotFound(f"no feature is called {key!r}{hint}", suggestions=close)


def closest_names(session: Session, key: str, artifact: str | None = None) -> tuple[str, ...]:
    """Up to three names like ``key``, of as many features, most alike first."""
    query = select(NameRecord.feature_id, NameRecord.name, NameRecord.key).order_by(NameRecord.feature_id)
    rows = session.execute(query.where(in_artifact(NameRecord.feature_id, artifact))).all()
    alike = process.extract(
        fold(key[: Limits().name_chars]),
        [row.key for row in rows],
        scorer=fuzz.WRatio,
        score_cutoff=LIKENESS,
        limit=SUGGESTIONS * 4,
    )
    names = {rows[at].feature_id: rows[at].name for _, _, at in reversed(alike)}
    order = dict.fromkeys(rows[at].feature_id for _, _, at in alike)
    return tuple(dict.fromkeys(names[each] for each in order))[:SUGGESTIONS]


def _by_address(session: Session, key: str, artifact: str | None) -> Feature:
    name, _, latent = key[len(ADDRESS) :].rpartition("/")
    if not (name and latent.isascii() and latent.isdigit() and len(latent) < 10):
        raise FeatureNotFound(f"{key!r} is no address; write sae:<artifact>/<latent>, e.g. sae:demo-l2/123")
    owner = find_artifact(session, name)
    if artifact is not None and owner.id != artifact:
        raise FeatureNotFound(f"{key!r} lies in artifact {owner.name!r}, which is not the one in use")
    query = select(FeatureRecord.id).where(FeatureRecord.artifact_id == owner.id, FeatureRecord.latent == int(latent))
    ids = session.scalars(query).all()
    if not ids:
        raise FeatureNotFound(f"artifact {owner.name!r} has no live latent {latent}")
    return load_features(session, ids)[0]


def _candidates(session: Session, key: str, artifact: str | None) -> list[str]:
    """Ids of the features with the strongest claim to the key."""
    direct = select(FeatureRecord.id).where(
        or_(FeatureRecord.id == key.strip(), FeatureRecord.slug == key.strip().lower()),
        in_artifact(FeatureRecord.id, artifact),
    )
    named = select(NameRecord.feature_id, NameRecord.kind).where(
        NameRecord.key == fold(key), in_artifact(NameRecord.feature_id, artifact)
    )
    claims = [(-1 if each == key.strip() else len(NameKind), each) for each in session.scalars(direct)]
    claims += [(NameKind(row.kind).rank, row.feature_id) for row in session.execute(named)]
    strongest = min((rank for rank, _ in claims), default=0)
    return sorted({each for rank, each in claims if rank == strongest})


def _ambiguity(key: str, features: Iterable[Feature], count: int) -> str:
    shown: Sequence[str] = [f"{each.id} ({each.label!r}, latent {each.latent})" for each in features]
    more = "" if count <= len(shown) else f" and {count - len(shown)} more"
    return f"{key!r} names {count} features: {', '.join(shown)}{more}; use an id, or sae:<artifact>/<latent>"
