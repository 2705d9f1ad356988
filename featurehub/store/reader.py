"""The queries that the feature database answers."""

from collections.abc import Iterable, Iterator

from sqlalchemy.orm import Session

from featurehub.errors import FeatureNotFound
from featurehub.features import Feature
from featurehub.records import (
    Cluster,
    Evaluation,
    FeatureDetails,
    FeatureMap,
    Label,
    LabelVersion,
    PastReport,
    RegisteredArtifact,
    ReportHead,
    ResolvedGroup,
    Scope,
    SearchFilter,
    SearchPage,
)
from featurehub.refreshes import RefreshReport
from featurehub.store.clusters import clusters_of
from featurehub.store.directory import Directory, load_directory
from featurehub.store.drift import Judged, load_function, load_heads, load_past, load_report, load_reports, load_states
from featurehub.store.embeddings import EmbeddedBy, EmbeddingKind, Unembedded, embedders_of, load_unembedded
from featurehub.store.evaluations import load_evaluations
from featurehub.store.feature_page import load_details
from featurehub.store.feature_set import FeatureSet, read_feature_set
from featurehub.store.groups import FeatureGroups
from featurehub.store.labels import count_features, load_attempts, load_labels
from featurehub.store.lookup import closest_names, find_features, find_named, saes_of
from featurehub.store.maps import load_map
from featurehub.store.near import QueryVector
from featurehub.store.nearest import EVERY
from featurehub.store.only import Judge, in_layers
from featurehub.store.pages import search
from featurehub.store.refreshes import load_refresh
from featurehub.store.registry import default_of, heir_of, owned_artifact
from featurehub.store.relevance import Relevance
from featurehub.store.rows import features_of, load_features
from featurehub.store.statistics import id_of
from featurehub.store.variants import Variants
from featurehub.verdicts import DriftReport

__all__ = ["EVERYWHERE", "Reader"]

EVERYWHERE = Scope()


class Reader:
    """Queries on one snapshot.

    An ``artifact`` argument is its id, name or alias, or an unambiguous prefix of one. Features come with ``state``
    unchecked; ``states_of`` says how they stand on a model.

    Args:
        session: The session to read through.
        changing: Whether the session writes too, so that nothing that was read may be cached.
    """

    def __init__(self, session: Session, *, changing: bool = False) -> None:
        self._session = session
        self._changing = changing
        self._directory: Directory | None = None
        self._heads: dict[tuple[str, str | None], ReportHead | None] = {}

    @property
    def directory(self) -> Directory:
        """The registered artifacts, read once per snapshot."""
        if self._directory is None or self._changing:
            self._directory = load_directory(self._session)
        return self._directory

    def artifacts(self) -> list[RegisteredArtifact]:
        """All artifacts, sorted by name."""
        return list(self.directory.artifacts.values())

    def artifact(self, key: str) -> RegisteredArtifact:
        """One artifact. Raises ArtifactNotFound where nothing has this key, or several have this prefix."""
        return self.directory.find(key)

    def scope(self, *artifacts: str) -> Scope:
        """A scope to look up names in.

        Args:
            artifacts: The artifacts, in the order in which a server holds them.

        Raises:
            ArtifactNotFound: One of them is not registered.
        """
        return Scope(saes=tuple(self.artifact(each).id for each in artifacts))

    def default_artifact(self, model: str | None = None) -> RegisteredArtifact | None:
        """The artifact that serves a model when none is named.

        Args:
            model: Hash of all its weights (``ModelIdentity.whole``); None for any model.

        Returns:
            The model's default, else its latest artifact; None where it has none. Without a model, the latest default
            of all.
        """
        found = default_of(self._session, model)
        return None if found is None else self.artifact(found)

    def successor(self, artifact: str) -> RegisteredArtifact | None:
        """The artifact that becomes the default when this one is removed.

        Returns:
            The artifact; None where this one is not a default or its model has no other.

        Raises:
            ArtifactNotFound: The artifact is not registered.
        """
        heir = heir_of(self._session, owned_artifact(self._session, self.artifact(artifact).id))
        return None if heir is None else self.artifact(heir.id)

    def features(self, artifact: str) -> list[Feature]:
        """All features of an artifact, by latent. Raises ArtifactNotFound."""
        return features_of(self._session, self.artifact(artifact).id)

    def count_features(self, artifact: str) -> tuple[int, int]:
        """How many features an artifact has, and how many of them have a label. Raises ArtifactNotFound."""
        return count_features(self._session, self.artifact(artifact).id)

    def labels(self, artifact: str) -> dict[int, Label]:
        """The labels of an artifact's features that have one, by latent. Raises ArtifactNotFound."""
        return load_labels(self._session, self.artifact(artifact).id)

    def latents(self, artifact: str, latents: Iterable[int]) -> list[Feature]:
        """The features of some latents of an artifact, by latent. Latents without a feature are left out.

        Raises:
            ArtifactNotFound: The artifact is not registered.
        """
        owner = self.artifact(artifact).id
        return load_features(self._session, [id_of(owner, latent) for latent in sorted(set(latents))])

    def feature(self, feature_id: str) -> Feature:
        """One feature by its id. Raises FeatureNotFound."""
        found = load_features(self._session, [feature_id])
        if not found:
            raise FeatureNotFound(f"there is no feature with the id {feature_id!r}")
        return found[0]

    def details(self, feature_id: str) -> FeatureDetails:
        """Everything that a feature's page shows. Raises FeatureNotFound."""
        return load_details(self._session, feature_id)

    def map(self, artifact: str) -> FeatureMap | None:
        """Where an artifact's features lie among each other; None where nobody computed that."""
        return load_map(self._session, self.artifact(artifact).id)

    def clusters(self, artifact: str) -> tuple[Cluster, ...]:
        """The clusters of an artifact's features. Raises ArtifactNotFound."""
        return clusters_of(self._session, self.artifact(artifact).id)

    def refresh(self, artifact: str) -> RefreshReport | None:
        """How an artifact was made from its parent for another model; None where it wasn't. Raises ArtifactNotFound."""
        return load_refresh(self._session, self.artifact(artifact).id)

    @property
    def groups(self) -> FeatureGroups:
        """The groups of features."""
        return FeatureGroups(self._session, self.directory)

    @property
    def variants(self) -> Variants:
        """The variants: named sets of edits, in versions."""
        return Variants(self._session)

    @property
    def relevance(self) -> Relevance:
        """What is near to features, and the order of features under a query."""
        return Relevance(self._session, self.directory)

    def resolve(self, key: str, scope: Scope = EVERYWHERE) -> Feature:
        """The feature that a key of a request means.

        Args:
            key: Label, head of a label, alias, slug, id or ``sae:<artifact>/<latent>``.
            scope: The artifacts to look in; all by default.

        Raises:
            FeatureNotFound: Nothing has this name; the error carries up to three close names.
            AmbiguousFeature: Several features answer to it; the error carries their ids.
            ArtifactNotFound: The key or the scope names an SAE that is not registered.
        """
        return self.resolve_many([key], scope)[key]

    def resolve_many(self, keys: Iterable[str], scope: Scope = EVERYWHERE) -> dict[str, Feature]:
        """``resolve`` for many keys at once.

        Returns:
            The features by key.

        Raises:
            FeatureNotFound: As in ``resolve``, for the first key at fault, which is the error's ``param``.
            AmbiguousFeature: The same.
            ArtifactNotFound: The same.
        """
        return find_features(self._session, keys, self.directory, scope)

    def resolve_named(self, keys: Iterable[str], scope: Scope = EVERYWHERE) -> dict[str, Feature | ResolvedGroup]:
        """``resolve_many``, where a key may mean a group too. Raises FeatureNotFound where one is not whole."""
        return find_named(self._session, keys, self.directory, scope)

    def suggest(self, key: str, scope: Scope = EVERYWHERE) -> tuple[str, ...]:
        """Up to three names like ``key``, most similar first."""
        return closest_names(self._session, key, saes_of(self.directory, scope), scope.owner)

    def search(
        self, query: str, scope: Scope = EVERYWHERE, limit: int = 20, after: str | None = None,
        only: SearchFilter = EVERY, *, vector: QueryVector | None = None, judge: Judge | None = None,
        explain: bool = False,
    ) -> SearchPage:  # fmt: skip
        """Searches features; see ``featurehub.store.search`` for the ranking.

        Args:
            query: The words; the empty one lists all.
            scope: The artifacts to search; all by default.
            limit, after, only: How many features at most, the ``next`` of the page before, and which may be shown.
            vector, judge, explain: See ``pages.search``, which refuses what is out of bounds.

        Raises:
            ArtifactNotFound: The scope names an SAE that is not registered.
            EmbedderMismatch: An SAE of the scope was embedded by another embedder.
        """
        saes = in_layers(saes_of(self.directory, scope), self.directory, only)
        return search(self._session, query, saes, limit, after, only, vector, judge, explain, scope.owner)

    def embedders(self, scope: Scope = EVERYWHERE) -> dict[str, EmbeddedBy]:
        """Where the vectors of the scope's artifacts come from, by id; those never embedded are left out."""
        return embedders_of(self._session, saes_of(self.directory, scope))

    def unembedded(self, artifact: str, kind: EmbeddingKind, after: int = -1, limit: int = 256) -> list[Unembedded]:
        """The next features of an artifact (by id) without a vector of this kind, by latent."""
        return load_unembedded(self._session, artifact, kind, after, limit)

    def feature_set(self, artifact: str) -> FeatureSet:
        """An artifact with all its features, to put into another database. Raises ArtifactNotFound."""
        return read_feature_set(self._session, self.artifact(artifact))

    def attempts(self, artifact: str, method: str, model: str) -> Iterator[tuple[int, LabelVersion]]:
        """The latents with their label versions of one method and model, as they are read. Raises ArtifactNotFound."""
        return load_attempts(self._session, self.artifact(artifact).id, method, model)

    def evaluations(self, artifact: str) -> list[Evaluation]:
        """The evaluations of an artifact, latest first. Raises ArtifactNotFound."""
        return load_evaluations(self._session, self.artifact(artifact).id)

    def reports(self, artifact: str) -> list[DriftReport]:
        """All drift reports on an artifact, latest first. Raises ArtifactNotFound."""
        return load_reports(self._session, self.artifact(artifact).id)

    def report(self, id: str) -> DriftReport:
        """One drift report. Raises NotFound."""
        return load_report(self._session, id)

    def past_reports(self, artifact: str, limit: int) -> list[PastReport]:
        """The latest drift reports on an artifact, latest first, verdicts counted. Raises ArtifactNotFound."""
        return load_past(self._session, self.artifact(artifact).id, limit)

    def latest_report(self, artifact: str, fingerprint: str | None = None) -> DriftReport | None:
        """The latest drift report on an artifact, on one function of the model or on any. Raises ArtifactNotFound."""
        return next(iter(load_reports(self._session, self.artifact(artifact).id, fingerprint, limit=1)), None)

    def function_of_weights(self, identity: str) -> str:
        """The function (``ModelIdentity.function``) of which the latest report on these weights is; "" without any."""
        return load_function(self._session, identity)

    def report_heads(self, artifacts: Iterable[str], fingerprint: str | None) -> dict[str, ReportHead | None]:
        """The latest drift report of each artifact on one model, without the verdicts.

        Args:
            artifacts: Their ids.
            fingerprint: The model's function (``ModelIdentity.function``); None for the latest report on any model.

        Returns:
            The reports by id of the artifact; None where there is none.
        """
        asked = list(dict.fromkeys(artifacts))
        if self._changing:
            self._heads.clear()
        if unknown := [each for each in asked if (each, fingerprint) not in self._heads]:
            found = load_heads(self._session, unknown, fingerprint)
            self._heads |= {(each, fingerprint): found.get(each) for each in unknown}
        return {each: self._heads[each, fingerprint] for each in asked}

    def states_of(self, features: Iterable[Feature], fingerprint: str) -> dict[str, Judged]:
        """How features stand on a model, by id: the state, and the id of the report that says so (None without any)."""
        places = {each.id: (each.artifact, each.latent) for each in features}
        heads, states = load_states(self._session, places.values(), fingerprint)
        self._heads |= {(each, fingerprint): head for each, head in heads.items()}
        return {id: states[place] for id, place in places.items()}
