"""What a refresh does to names: those of features that were kept go on, the others move or are retired.

1. A feature that was kept has its former names, its aliases and the history of its labels at the same latent. An alias
   of it that was another feature's label is left out: it meant that one.
2. Where another latent means now what a label says, the names of that label are moved names of it.
3. All names and slugs of a feature that was not kept are kept as former names. A key that nothing else answers to may
   be one, of an SAE of this line as long as that is registered, or the id of a feature before a refresh: it means the
   feature that was kept, or to which its names moved, or it is retired.
"""

from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from pydantic_core import from_json
from sqlalchemy import delete, insert, select
from sqlalchemy.orm import Session

from featurehub.errors import FeatureRetired
from featurehub.features import Feature
from featurehub.names import fold
from featurehub.refreshes import Fate, RefreshedFeature, RefreshReport
from featurehub.store.bulk import insert_rows
from featurehub.store.directory import Directory
from featurehub.store.joining import names_from, versions_from
from featurehub.store.names import NameKind
from featurehub.store.naming import NAME_COLUMNS
from featurehub.store.registry import owned_artifact
from featurehub.store.rows import load_features
from featurehub.store.schema import FateRecord, RefreshRecord
from featurehub.store.sql import statement
from featurehub.store.statistics import id_of
from featurehub.variants import FeatureFate

__all__ = ["fates_of", "former_feature", "load_refresh", "save_refresh"]

KEPT_PAIRS = """
    SELECT s.id AS source, t.id AS target, s.latent, s.label_version, s.label_score
    FROM features AS s JOIN features AS t ON t.latent = s.latent AND t.artifact_id = :target
    JOIN refreshed_features AS r ON r.artifact_id = :target AND r.latent = s.latent AND r.fate = 'kept'
    WHERE s.artifact_id = :source
"""
LOST = """
    FROM features AS s JOIN refreshed_features AS r
        ON r.artifact_id = :target AND r.latent = s.latent AND r.fate <> 'kept'
    JOIN names AS n ON n.feature_id = s.id
    WHERE s.artifact_id = :source
"""
VERSIONS, NAMES = versions_from(KEPT_PAIRS), names_from(KEPT_PAIRS)
LEFT_OUT = statement(
    f"""
    DELETE FROM names WHERE artifact_id = :target AND owner = '' AND kind IN ('kept', 'given')
        AND key IN (SELECT n.key {LOST} AND n.owner = '' AND n.kind IN ('label', 'head'))
    """
)
LOST_NAMES = statement(
    f"SELECT s.latent, r.moved_to, n.name, n.key, n.owner, n.name_words, n.head_words {LOST} ORDER BY s.latent, n.id"
)
SLUGS = statement(
    """
    SELECT s.latent, s.slug FROM features AS s JOIN refreshed_features AS r
        ON r.artifact_id = :target AND r.latent = s.latent AND r.fate <> 'kept'
    WHERE s.artifact_id = :source
    """
)
KNOWN = statement("SELECT feature_id, owner, key FROM names WHERE artifact_id = :target")
ALIAS_COLUMNS = (*NAME_COLUMNS, "owner")
FORMER = statement(
    """
    WITH RECURSIVE line(id) AS (
        SELECT id FROM artifacts WHERE id IN :saes
        UNION SELECT r.parent_id FROM refreshes AS r JOIN line ON r.artifact_id = line.id
    )
    SELECT r.artifact_id, r.latent, r.fate, r.moved_to, r.outcome
    FROM former_names AS n JOIN refreshed_features AS r ON r.artifact_id = n.artifact_id AND r.latent = n.latent
    WHERE n.key = :key AND n.owner IN ('', :owner) AND n.artifact_id IN (SELECT id FROM line)
    ORDER BY n.id DESC
    """,
    "saes",
)
WITH_ID = statement(
    "SELECT artifact_id, latent, fate, moved_to, outcome FROM refreshed_features WHERE former_id = :key"
    " ORDER BY artifact_id"
)
FATE_COLUMNS = ("artifact_id", "latent", "former_id", "fate", "moved_to", "outcome")


def save_refresh(session: Session, report: RefreshReport, names: bool) -> None:
    """Stores the report on how an artifact was made from its parent, in place of an earlier one.

    Args:
        session: A session that writes.
        report: The report.
        names: Whether the parent's names go on, too (steps 1 to 3). The artifact's features are stored, and have no
            label yet.

    Raises:
        ArtifactNotFound: The artifact is not registered.
    """
    owned_artifact(session, report.artifact)
    for table in (RefreshRecord, FateRecord):
        session.execute(delete(table).where(table.artifact_id == report.artifact))
    head = report.model_dump(mode="json", exclude={"features"})
    columns = {"artifact_id": report.artifact, "parent_id": report.parent, "created": report.created, "report": head}
    session.execute(insert(RefreshRecord).values(columns))
    insert_rows(session, "refreshed_features", FATE_COLUMNS, (_values(each, report) for each in report.features))
    if names:
        _carry_names(session, report.parent, report.artifact)


def load_refresh(session: Session, artifact: str) -> RefreshReport | None:
    """The report on how an artifact (by id) was made from its parent; None where it was not made by a refresh."""
    head = session.scalar(select(RefreshRecord.report).where(RefreshRecord.artifact_id == artifact))
    if head is None:
        return None
    query = select(FateRecord.outcome).where(FateRecord.artifact_id == artifact).order_by(FateRecord.latent)
    return RefreshReport.model_validate({**head, "features": session.scalars(query).all()})


def former_feature(
    session: Session, key: str, directory: Directory, saes: Sequence[str], owner: str = ""
) -> Feature | None:
    """The feature of some SAEs that a key means which was a name, slug or id before a refresh (step 3).

    Args:
        session: A session that reads.
        key: What a request gives, to which no feature answers by a name that it has now.
        directory: The registered artifacts.
        saes: Ids of the SAEs.
        owner: Whose own aliases count beside everyone's names.

    Returns:
        The feature; the key is one of its moved names where another latent had it. None where the key was nothing
        before a refresh either.

    Raises:
        FeatureRetired: It was a feature's, and no feature means it any more.
    """
    rows = session.execute(FORMER, {"key": fold(key), "owner": owner, "saes": saes}).all()
    fates = [here for row in rows for here in _followed(session, Lineage(*row), saes)]
    fates += _descended(session, key.strip(), saes)
    for each in fates:
        if each.latent_now is not None:
            [feature] = load_features(session, [id_of(each.artifact, each.latent_now)], owner)
            moved = each.moved_to is not None
            return feature.model_copy(update={"moved": (*feature.moved, key)}) if moved else feature
    if fates:
        raise _retired(key, fates[0], directory)
    return None


def fates_of(session: Session, ids: Iterable[str], saes: Collection[str]) -> dict[str, FeatureFate]:
    """What became of features (by id) in SAEs that were refreshed from theirs, whatever lies between.

    Args:
        session: A session that reads.
        ids: Ids of features; those of which none of these SAEs has a record are left out.
        saes: Ids of the SAEs.
    """
    found: dict[str, FeatureFate] = {}
    for id in dict.fromkeys(ids):
        for each in _descended(session, id, saes)[:1]:
            now, outcome = each.latent_now, each.feature
            feature = None if now is None else id_of(each.artifact, now)
            label = outcome.new_label if each.fate == Fate.KEPT else outcome.successor_label
            found[id] = FeatureFate(
                fate=outcome.fate, sae=each.artifact, feature=feature, label=label, reason=outcome.reason
            )
    return found


class Lineage(NamedTuple):
    """A row of ``refreshed_features``, of a feature of the parent: where it is in the artifact."""

    artifact: str
    latent: int
    fate: str
    moved_to: int | None
    outcome: Any

    @property
    def feature(self) -> RefreshedFeature:
        """What became of it. JSON is read as its text from SQLite, and as what it says from PostgreSQL."""
        said = self.outcome if isinstance(self.outcome, dict) else from_json(self.outcome)
        return RefreshedFeature.model_validate(said)

    @property
    def latent_now(self) -> int | None:
        """The latent in the artifact that means what the feature meant; None where none does."""
        return self.latent if self.fate == Fate.KEPT else self.moved_to


def _descended(session: Session, id: str, saes: Collection[str]) -> list[Lineage]:
    """Where a feature (by id) of an earlier SAE is in these SAEs, however many refreshes lie between."""
    rows = session.execute(WITH_ID, {"key": id}).all()
    return [here for row in rows for here in _followed(session, Lineage(*row), saes)]


def _followed(session: Session, fate: Lineage, saes: Collection[str]) -> list[Lineage]:
    """The same feature in these SAEs; the fate itself where it ends there, or before them."""
    if fate.artifact in saes or fate.latent_now is None:
        return [fate]
    later = _descended(session, id_of(fate.artifact, fate.latent_now), saes)
    # Once moved is moved, however long it was kept after that.
    return [each._replace(moved_to=each.latent_now) for each in later] if fate.moved_to is not None else later


def _retired(key: str, lost: Lineage, directory: Directory) -> FeatureRetired:
    outcome, name = lost.feature, directory.artifacts[lost.artifact].name
    close = outcome.successor_label
    now = f" Its latent {outcome.latent} is called {outcome.new_label!r} now." if outcome.new_label else ""
    instead = f" What comes closest is {close!r}." if close else ""
    return FeatureRetired(
        f"{key!r} was retired when the SAE {name!r} was refreshed for a retrained model: no feature of it means that "
        f"any more ({outcome.reason}).{now}{instead}",
        suggestions=(close,) if close else (),
    )


def _carry_names(session: Session, source: str, target: str) -> None:
    both = {"source": source, "target": target}
    for each in (VERSIONS, NAMES, LEFT_OUT):
        session.execute(each, both)
    lost = session.execute(LOST_NAMES, both).all()
    taken = {tuple(row) for row in session.execute(KNOWN, {"target": target})}
    insert_rows(session, "names", ALIAS_COLUMNS, _moved(lost, target, taken))
    former = [(row.latent, row.key, row.owner) for row in lost]
    former += [(row.latent, fold(row.slug), "") for row in session.execute(SLUGS, both)]
    rows = ((target, *each) for each in dict.fromkeys(former))
    insert_rows(session, "former_names", ("artifact_id", "latent", "key", "owner"), rows)


def _moved(lost: Sequence[Any], target: str, taken: set[tuple[str, str, str]]) -> Iterator[tuple[Any, ...]]:
    """Step 2: values of ``ALIAS_COLUMNS``."""
    for row in lost:
        if row.moved_to is None:
            continue
        feature = id_of(target, row.moved_to)
        if (place := (feature, row.owner, row.key)) not in taken:
            taken.add(place)
            yield feature, target, row.name, row.key, NameKind.MOVED.value, row.name_words, row.head_words, row.owner


def _values(feature: RefreshedFeature, report: RefreshReport) -> tuple[Any, ...]:
    """Values of ``FATE_COLUMNS``."""
    former, moved = id_of(report.parent, feature.latent), feature.successor if feature.moved else None
    return report.artifact, feature.latent, former, feature.fate.value, moved, feature.model_dump_json()
