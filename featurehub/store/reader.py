"""What one may ask the feature database."""

from collections.abc import Iterable

from sqlalchemy import func, select
from sqlalchemy.orm import Session, selectinload

from featurehub.errors import FeatureNotFound
from featurehub.features import Feature, State
from featurehub.records import Artifact, Evaluation, FeatureDetails, SearchPage
from featurehub.store.drift import load_reports, load_state, load_states
from featurehub.store.evaluations import load_evaluations
from featurehub.store.lookup import closest_names, find_artifact, find_feature
from featurehub.store.registry import heir_of
from featurehub.store.rows import artifact_of, artifacts_of, details_of, load_features
from featurehub.store.schema import ArtifactRecord, FeatureRecord
from featurehub.store.search import search
from featurehub.store.statistics import id_of
from featurehub.verdicts import DriftReport

__all__ = ["Reader"]


class Reader:
    """Queries on one snapshot. An ``artifact`` is named by its id, name, alias, or an unambiguous prefix of one.

    Features come with ``state`` unchecked; ``with_states`` fills it in for a model.
    """

    def __init__(self, session: Session) -> None:
        self._session = session

    def artifacts(self) -> list[Artifact]:
        """All artifacts, by name."""
        query = select(ArtifactRecord).order_by(ArtifactRecord.name)
        return artifacts_of(self._session, self._session.scalars(query).all())

    def artifact(self, key: str) -> Artifact:
        """Raises ArtifactNotFound."""
        return artifact_of(self._session, find_artifact(self._session, key))

    def default_artifact(self, model: str | None = None) -> Artifact | None:
        """The default for a model (by the fingerprint of all its weights), else the latest; None where there is none.

        Without a model: the latest default of all.
        """
        query = select(ArtifactRecord).order_by(
            ArtifactRecord.is_default.desc(), ArtifactRecord.created.desc(), ArtifactRecord.id
        )
        if model is not None:
            query = query.where(ArtifactRecord.model == model)
        record = self._session.scalars(query.limit(1)).first()
        return None if record is None else artifact_of(self._session, record)

    def successor(self, artifact: str) -> Artifact | None:
        """Which artifact becomes the default when this one is removed, if it is one. Raises ArtifactNotFound."""
        heir = heir_of(self._session, find_artifact(self._session, artifact))
        return None if heir is None else artifact_of(self._session, heir)

    def features(self, artifact: str) -> list[Feature]:
        """All features of an artifact, by latent. Raises ArtifactNotFound."""
        owner = find_artifact(self._session, artifact).id
        ids = select(FeatureRecord.id).where(FeatureRecord.artifact_id == owner).order_by(FeatureRecord.latent)
        return load_features(self._session, self._session.scalars(ids).all())

    def count_features(self, artifact: str) -> tuple[int, int]:
        """How many features an artifact has, and how many of them a label. Raises ArtifactNotFound."""
        owner = find_artifact(self._session, artifact).id
        labelled = func.count().filter(FeatureRecord.label != "")
        query = select(func.count(), labelled).where(FeatureRecord.artifact_id == owner)
        features, named = self._session.execute(query).one()
        return features, named

    def latents(self, artifact: str, latents: Iterable[int]) -> list[Feature]:
        """The features of these latents of an artifact, by latent; those without one are left out.

        Raises ArtifactNotFound.
        """
        owner = find_artifact(self._session, artifact).id
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

    def resolve(self, key: str, artifact: str | None = None) -> Feature:
        """The feature that a request's key means: label, head, alias, slug, id or ``sae:<artifact>/<latent>``.

        Raises FeatureNotFound with up to three close names, AmbiguousFeature with the candidates' ids,
        ArtifactNotFound.
        """
        return find_feature(self._session, key, self._owner(artifact))

    def suggest(self, key: str, artifact: str | None = None) -> tuple[str, ...]:
        """Up to three names like ``key``, most alike first."""
        return closest_names(self._session, key, self._owner(artifact))

    def search(self, query: str, artifact: str | None = None, limit: int = 20, after: str | None = None) -> SearchPage:
        """Features by words, best first; the empty query lists all. Raises InvalidInput, ArtifactNotFound."""
        return search(self._session, query, self._owner(artifact), limit, after)

    def evaluations(self, artifact: str) -> list[Evaluation]:
        """What an artifact scored, latest first. Raises ArtifactNotFound."""
        return load_evaluations(self._session, find_artifact(self._session, artifact).id)

    def reports(self, artifact: str) -> list[DriftReport]:
        """All drift reports on an artifact, latest first. Raises ArtifactNotFound."""
        return load_reports(self._session, find_artifact(self._session, artifact).id)

    def latest_report(self, artifact: str, fingerprint: str | None = None) -> DriftReport | None:
        """The latest drift report on an artifact and a model, or on any. Raises ArtifactNotFound."""
        owner = find_artifact(self._session, artifact).id
        return next(iter(load_reports(self._session, owner, fingerprint, limit=1)), None)

    def states(self, artifact: str, fingerprint: str) -> dict[int, tuple[State, str | None]]:
        """Of every latent: its state on a model, and the report that set it. Raises ArtifactNotFound."""
        return load_states(self._session, find_artifact(self._session, artifact).id, fingerprint)

    def verdict(self, feature_id: str, fingerprint: str) -> tuple[State, str | None]:
        """One feature's state on a model, and the report that set it. Raises FeatureNotFound."""
        feature = self.feature(feature_id)
        return load_state(self._session, feature.artifact, feature.latent, fingerprint)

    def with_states(self, features: Iterable[Feature], fingerprint: str) -> list[Feature]:
        """The same features with their state on a model."""
        listed = list(features)
        states = {owner: load_states(self._session, owner, fingerprint) for owner in {each.artifact for each in listed}}
        return [each.model_copy(update={"state": states[each.artifact][each.latent][0]}) for each in listed]

    def _owner(self, artifact: str | None) -> str | None:
        return None if artifact is None else find_artifact(self._session, artifact).id
