"""The changes that can be made to the feature database."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy.orm import Session

from featurehub.artifacts.manifest import Manifest
from featurehub.groups import FeatureGroup
from featurehub.records import Calibration, Cluster, Evaluation, FeatureMap, FeatureRow, Outcome, Provenance, Scope
from featurehub.refreshes import RefreshReport
from featurehub.store.aliases import drop_alias, save_alias
from featurehub.store.clusters import save_clusters
from featurehub.store.drift import save_report
from featurehub.store.evaluations import save_evaluation
from featurehub.store.groups import drop_group, save_group
from featurehub.store.joining import join_labels
from featurehub.store.labels import owners_of, save_labels
from featurehub.store.maps import save_map
from featurehub.store.naming import give_alias
from featurehub.store.new_features import NewFeatures, save_new_features
from featurehub.store.new_variants import WritableVariants
from featurehub.store.reader import EVERYWHERE, Reader
from featurehub.store.refreshes import save_refresh
from featurehub.store.registry import drop_artifact, make_default, owned_artifact, save_artifact
from featurehub.store.statistics import PreparedRows, better_founded, save_calibrations, save_features
from featurehub.store.vectors import Vectors
from featurehub.store.words import save_words
from featurehub.verdicts import DriftReport

__all__ = ["Writer"]


class Writer:
    """Changes in one transaction. ``artifact`` and ``feature`` arguments are ids.

    Attributes:
        reader: Queries that see what this transaction has written.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self.reader = Reader(session, changing=True)

    def put_artifact(self, manifest: Manifest, path: str | Path, default: bool | None = None) -> None:
        """Registers an SAE, or updates the one with this id.

        A name belongs to the artifact that took it last. Its former owner is renamed to ``name@<id>``, or loses that
        alias.

        Args:
            manifest: The SAE's manifest.
            path: Its folder.
            default: Whether it serves the model when no SAE is named. None makes it so where the model has no default
                yet, or where it takes over the default's name.
        """
        save_artifact(self._session, manifest, path, default)

    def remove_artifact(self, artifact: str) -> str | None:
        """Removes an SAE with its features, labels, evaluations and reports.

        Returns:
            Id of the artifact that became the model's default in its place (the latest of the others), if any.

        Raises:
            ArtifactNotFound: The artifact is not registered.
        """
        heir = drop_artifact(self._session, owned_artifact(self._session, artifact))
        return None if heir is None else heir.id

    def promote_artifact(self, artifact: str) -> str | None:
        """Makes an SAE its model's default.

        Returns:
            Id of the default that it replaces, if any.

        Raises:
            ArtifactNotFound: The artifact is not registered.
        """
        former = make_default(self._session, owned_artifact(self._session, artifact))
        return None if former is None else former.id

    def put_artifact_alias(self, artifact: str, name: str) -> str | None:
        """Gives an SAE one more name, even if another SAE has it as an alias.

        Returns:
            Id of the other SAE that lost the alias, if any.

        Raises:
            ArtifactNotFound: The artifact is not registered.
            InvalidInput: The name is blank or too long, or an artifact's own name or id.
        """
        return save_alias(self._session, owned_artifact(self._session, artifact).id, name)

    def remove_artifact_alias(self, artifact: str, name: str) -> None:
        """Takes an alias from its SAE.

        Raises:
            ArtifactNotFound: The artifact is not registered, or has no such alias.
        """
        drop_alias(self._session, owned_artifact(self._session, artifact).id, name)

    def put_evaluation(self, evaluation: Evaluation) -> None:
        """Stores what an artifact scored, as its latest evaluation. Raises ArtifactNotFound."""
        owned_artifact(self._session, evaluation.artifact)
        save_evaluation(self._session, evaluation)

    def put_features(self, artifact: str, rows: Iterable[FeatureRow] | PreparedRows) -> list[str]:
        """Makes ``rows`` the artifact's features.

        The statistics of known latents are replaced; their labels and calibration stay. Features of latents that are
        not in ``rows`` are removed.

        Args:
            artifact: Id of the SAE.
            rows: The statistics, one row per latent. Prepare many rows before the transaction begins, since nobody else
                can write until it ends.

        Returns:
            The features' ids, in the order of the rows.

        Raises:
            ArtifactNotFound: The artifact is not registered.
            InvalidInput: A latent occurs twice or lies outside the SAE.
        """
        prepared = rows if isinstance(rows, PreparedRows) else PreparedRows(rows)
        return save_features(self._session, owned_artifact(self._session, artifact), prepared)

    def add_features(self, features: NewFeatures) -> None:
        """Stores all features of an artifact that has none, with labels and calibrations: the fastest way to do so.

        Raises:
            ArtifactNotFound: The artifact is not registered.
            InvalidInput: It has features, or a latent lies outside the SAE.
        """
        save_new_features(self._session, owned_artifact(self._session, features.artifact), features)

    def put_words(self, artifact: str, words: Mapping[str, Sequence[tuple[int, float]]]) -> None:
        """Makes these the words by which search finds an artifact's features, beside their names.

        Args:
            artifact: Id of the SAE.
            words: By word, the latents that go with it and how much (above 0), best first.

        Raises:
            ArtifactNotFound: The artifact is not registered.
        """
        save_words(self._session, owned_artifact(self._session, artifact).id, words)

    def put_clusters(self, artifact: str, clusters: Sequence[Cluster]) -> None:
        """Makes these the clusters of an artifact's features; there are no others any more.

        Args:
            artifact: Id of the SAE.
            clusters: No latent is in two of them.

        Raises:
            ArtifactNotFound: The artifact is not registered.
            InvalidInput: A latent is in several clusters.
        """
        save_clusters(self._session, owned_artifact(self._session, artifact).id, clusters)

    def put_map(self, artifact: str, map: FeatureMap) -> None:
        """Makes this the map of an artifact's features. Raises ArtifactNotFound and InvalidInput."""
        save_map(self._session, owned_artifact(self._session, artifact), map)

    def put_label(self, feature: str, outcome: Outcome, provenance: Provenance) -> int:
        """Adds a version to a feature's label: a new label, or the reason why none was found.

        A label becomes the feature's name, and its former name an alias; a reason changes neither. An outcome and
        provenance that equal the latest version's are not stored again.

        Returns:
            Number of the feature's latest version.

        Raises:
            FeatureNotFound: No feature has this id.
        """
        return self.put_labels({feature: (outcome, provenance)})[feature]

    def put_labels(self, labels: Mapping[str, tuple[Outcome, Provenance]]) -> dict[str, int]:
        """``put_label`` for many features at once.

        Args:
            labels: By the feature's id.

        Returns:
            Number of the latest version, by the feature's id.

        Raises:
            FeatureNotFound: No feature has one of the ids.
        """
        return save_labels(self._session, labels, datetime.now(UTC).isoformat(timespec="seconds"))

    def join_labels(self, source: str, target: str) -> int:
        """Gives all versions of an artifact's labels, its names and its places in groups to another (``joining``).

        Returns:
            How many features got a label.

        Raises:
            ArtifactNotFound: One of them is not registered.
        """
        return join_labels(self._session, *(owned_artifact(self._session, each).id for each in (source, target)))

    def put_refresh(self, report: RefreshReport, names: bool = False) -> None:
        """Stores how an artifact came from its parent; with ``names`` its features, without labels yet, get theirs."""
        save_refresh(self._session, report, names)

    def put_alias(self, feature: str, name: str, owner: str = "") -> None:
        """Gives a feature one more name.

        Args:
            feature: Id of the feature.
            name: The name.
            owner: Who gives it for themselves: nobody else knows it, and for them it goes before every other name.
                "" gives it for everyone.

        Raises:
            FeatureNotFound: No feature has this id.
            InvalidInput: The name is blank, or the owner's is too long.
        """
        self.reader.feature(feature)
        give_alias(self._session, feature, name, owner)

    def put_group(
        self, name: str, members: Mapping[str, float], scope: Scope = EVERYWHERE, *, description: str = "",
        method: str = "by hand",
    ) -> FeatureGroup:  # fmt: skip
        """Makes a name stand for several features, in place of what it stood for.

        Args:
            name: The name.
            members: The weight of each feature, by a key as in ``Reader.resolve``: in [-1, 1] and not 0.
            scope: Where the keys are looked up; nobody but its owner knows the group, and with "" everyone does.
            description, method: What it is for, and how its members were found.

        Raises:
            FeatureNotFound, AmbiguousFeature, ArtifactNotFound: As ``Reader.resolve_many``.
            InvalidInput: A name, weight or description is out of bounds, two keys mean one feature, or there are too
                many members or groups.
        """
        features = self.reader.resolve_many(members, scope)
        weights = [(features[key], weight) for key, weight in members.items()]
        return save_group(self._session, name, weights, scope.owner, description, method)

    def remove_group(self, key: str, owner: str = "") -> None:
        """Removes an owner's group, by its name or id. Raises FeatureNotFound."""
        drop_group(self._session, key, owner)

    def put_calibration(self, feature: str, calibration: Calibration) -> None:
        """Stores which strength weight 1.0 stands for, and how well the feature steers.

        Raises:
            FeatureNotFound: No feature has this id.
        """
        self.put_calibrations({feature: calibration})

    def put_calibrations(self, calibrations: Mapping[str, Calibration]) -> None:
        """``put_calibration`` for many features at once.

        Args:
            calibrations: By the feature's id.

        Raises:
            FeatureNotFound: No feature has one of the ids.
        """
        owners_of(self._session, calibrations)
        save_calibrations(self._session, calibrations)

    def improve_calibrations(self, calibrations: Mapping[str, Calibration]) -> list[str]:
        """``put_calibrations``, but for features whose calibration rests on more answers already.

        Returns:
            The ids of the features that got their new calibration.

        Raises:
            FeatureNotFound: No feature has one of the ids.
        """
        better = better_founded(self._session, calibrations)
        self.put_calibrations(better)
        return list(better)

    @property
    def vectors(self) -> Vectors:
        """The vectors of features' texts."""
        return Vectors(self._session)

    @property
    def variants(self) -> WritableVariants:
        """The variants: named sets of edits, in versions."""
        return WritableVariants(self._session, self.reader.directory)

    def put_report(self, report: DriftReport) -> None:
        """Stores a drift report as the latest on its artifact and model. Raises ArtifactNotFound."""
        owned_artifact(self._session, report.artifact)
        save_report(self._session, report)
