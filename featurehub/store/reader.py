"""What one may ask the feature database."""

from collections.abc import Iterable

from sqlalchemy import func, select
from sqlalchemy.orm import Session, selectinload

from featurehub.errors import FeatureNotFound
from featurehub.features import Feature
from featurehub.records import Evaluation, FeatureDetails, RegisteredArtifact, ReportHead, Scope, SearchPage
from featurehub.store.directory import Directory, load_directory
from featurehub.store.drift import Judged, load_heads, load_reports, load_states
from featurehub.store.evaluations import load_evaluations
from featurehub.store.feature_set import FeatureSet, read_feature_set
from featurehub.store.lookup import closest_names, find_features, saes_of
from featurehub.store.registry import heir_of, owned_artifact
from featurehub.store.rows import details_of, features_of, load_features
from featurehub.store.schema import ArtifactRecord, FeatureRecord
from featurehub.store.search import search
from featurehub.store.statistics import id_of
from featurehub.verdicts import DriftReport

__all__ = ["Reader"]

EVERYWHERE = Scope()


class Reader:
    """Queries on one snapshot. An ``artifact`` is named by its id, name, alias, or an unambiguous prefix of one.

    Features come with ``state`` unchecked; ``states_of`` says how they stand to a model.
    """

    def __init__(self, session: Session, *, changing: bool = False) -> None:
        """changing: whether the session writes too, so that nothing that was read may be kept"""
        self._session = session
        self._changing = changing
        self._directory: Directory | None = None
        self._heads: dict[tuple[str, str], ReportHead | None] = {}

    @property
    def directory(self) -> Directory:
        """The registered artifacts, read once in a snapshot."""
        if self._directory is None or self._changing:
            self._directory = load_directory(self._session)
        return self._directory

    def artifacts(self) -> list[RegisteredArtifact]:
        """All artifacts, by name."""
        return list(self.directory.artifacts.values())

    def artifact(self, key: str) -> RegisteredArtifact:
        """Raises ArtifactNotFound."""
        return self.directory.find(key)

    def scope(self, *artifacts: str) -> Scope:
        """These artifacts, to look for names in. Raises ArtifactNotFound."""
        return Scope(saes=tuple(self.artifact(each).id for each in artifacts))

    def default_artifact(self, model: str | None = None) -> RegisteredArtifact | None:
        """The default for a model (by the fingerprint of all its weights), else the latest; None where there is none.

        Without a model: the latest default of all.
        """
        query = select(ArtifactRecord.id).order_by(
            ArtifactRecord.is_default.desc(), ArtifactRecord.created.desc(), ArtifactRecord.id
        )
        if model is not None:
            query = query.where(ArtifactRecord.model == model)
        found = self._session.scalars(query.limit(1)).first()
        return None if found is None else self.artifact(found)

    def successor(self, artifact: str) -> RegisteredArtifact | None:
        """Which artifact becomes the default when this one is removed, if it is one. Raises ArtifactNotFound."""
        heir = heir_of(self._session, owned_artifact(self._session, self.artifact(artifact).id))
        return None if heir is None else self.artifact(heir.id)

    def features(self, artifact: str) -> list[Feature]:
        """All features of an artifact, by latent. Raises ArtifactNotFound."""
        return features_of(self._session, self.artifact(artifact).id)

    def count_features(self, artifact: str) -> tuple[int, int]:
        """How many features an artifact has, and how many of them a label. Raises ArtifactNotFound."""
        owner = self.artifact(artifact).id
        labelled = func.count().filter(FeatureRecord.label != "")
        query = select(func.count(), labelled).where(FeatureRecord.artifact_id == owner)
        features, named = self._session.execute(query).one()
        return features, named

    def latents(self, artifact: str, latents: Iterable[int]) -> list[Feature]:
        """The features of these latents of an artifact, by latent; those without one are left out.

        Raises ArtifactNotFound.
        """
        owner = self.artifact(artifact).id
        return load_features(self._session, [id_of(owner, latent) for latent in sorted(set(latents))])

    def feature(self, feature_id: str) -> Feature:
        """Raises FeatureNotFound."""
        found = load_features(self._session, [feature_id])
        if not found:
            raise FeatureNotFound(f"there is no feature with the id {feature_id!r}")
        return found[0]

    def details(self, feature_id: str) -> FeatureDetails:
        """Everything that a feature's page shows. Raises FeatureNotFound."""
        feature = self.feature(feature_id)
        query = select(FeatureRecord).where(FeatureRecord.id == feature_id).options(selectinload(FeatureRecord.labels))
        # What this session read before may have been changed by statements since.
        record = self._session.scalars(query.execution_options(populate_existing=True)).one()
        return details_of(record, feature)

    def resolve(self, key: str, scope: Scope = EVERYWHERE) -> Feature:
        """The feature that a request's key means: label, head, alias, slug, id or ``sae:<artifact>/<latent>``.

        Raises:
            FeatureNotFound: with up to three close names
            AmbiguousFeature: with the candidates' ids
            ArtifactNotFound: the key or the scope names an SAE that is not registered
        """
        return self.resolve_many([key], scope)[key]

    def resolve_many(self, keys: Iterable[str], scope: Scope = EVERYWHERE) -> dict[str, Feature]:
        """``resolve`` for many keys at once.

        Raises:
            FeatureNotFound, AmbiguousFeature, ArtifactNotFound: of the first key at fault, which is the ``param``
        """
        return find_features(self._session, keys, self.directory, scope)

    def suggest(self, key: str, scope: Scope = EVERYWHERE) -> tuple[str, ...]:
        """Up to three names like ``key``, most alike first."""
        return closest_names(self._session, key, saes_of(self.directory, scope))

    def search(self, query: str, scope: Scope = EVERYWHERE, limit: int = 20, after: str | None = None) -> SearchPage:
        """Features by words, best first; the empty query lists all. Raises InvalidInput, ArtifactNotFound."""
        return search(self._session, query, saes_of(self.directory, scope), limit, after)

    def feature_set(self, artifact: str) -> FeatureSet:
        """An artifact with all its features, to put into another database. Raises ArtifactNotFound."""
        return read_feature_set(self._session, self.artifact(artifact))

    def evaluations(self, artifact: str) -> list[Evaluation]:
        """What an artifact scored, latest first. Raises ArtifactNotFound."""
        return load_evaluations(self._session, self.artifact(artifact).id)

    def reports(self, artifact: str) -> list[DriftReport]:
        """All drift reports on an artifact, latest first. Raises ArtifactNotFound."""
        return load_reports(self._session, self.artifact(artifact).id)

    def latest_report(self, artifact: str, fingerprint: str | None = None) -> DriftReport | None:
        """The latest drift report on an artifact and a model, or on any. Raises ArtifactNotFound."""
        owner = self.artifact(artifact).id
        return next(iter(load_reports(self._session, owner, fingerprint, limit=1)), None)

    def report_heads(self, artifacts: Iterable[str], fingerprint: str) -> dict[str, ReportHead | None]:
        """``latest_report`` of artifacts (by id) on a model, without the verdicts; None where there is none."""
        asked = list(dict.fromkeys(artifacts))
        if self._changing:
            self._heads.clear()
        if unknown := [each for each in asked if (each, fingerprint) not in self._heads]:
            found = load_heads(self._session, unknown, fingerprint)
            self._heads |= {(each, fingerprint): found.get(each) for each in unknown}
        return {each: self._heads[each, fingerprint] for each in asked}

    def states_of(self, features: Iterable[Feature], fingerprint: str) -> dict[str, Judged]:
        """How features stand to a model: by id, the state and the report that set it."""
        places = {each.id: (each.artifact, each.latent) for each in features}
        heads, states = load_states(self._session, places.values(), fingerprint)
        self._heads |= {(each, fingerprint): head for each, head in heads.items()}
        return {id: states[place] for id, place in places.items()}
