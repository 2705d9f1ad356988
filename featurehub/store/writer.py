"""What one may change in the feature database."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import insert, select
from sqlalchemy.orm import Session

from featurehub.artifacts.manifest import Manifest
from featurehub.errors import InvalidInput
from featurehub.names import fold
from featurehub.records import Calibration, Evaluation, FeatureRow, Outcome, Provenance
from featurehub.store.aliases import drop_alias, save_alias
from featurehub.store.drift import save_report
from featurehub.store.evaluations import save_evaluation
from featurehub.store.labels import owners_of, save_labels
from featurehub.store.names import NameKind
from featurehub.store.reader import Reader
from featurehub.store.registry import drop_artifact, make_default, owned_artifact, save_artifact
from featurehub.store.schema import NameRecord
from featurehub.store.statistics import PreparedRows, save_calibrations, save_features
from featurehub.verdicts import DriftReport

__all__ = ["Writer"]


class Writer:
    """Changes in one transaction. ``artifact`` and ``feature`` arguments are ids; ``reader`` sees what was written."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self.reader = Reader(session, changing=True)

    def put_artifact(self, manifest: Manifest, path: str | Path, default: bool | None = None) -> None:
        """Registers an SAE, or updates the one with this id.

        A name belongs to the artifact that took it last; its former owner is called ``name@<id>`` from then on, or has
        one alias less.
        default: whether it serves the model when none is named; None makes it so where the model has no default yet
        or it takes over the default's name.
        """
        save_artifact(self._session, manifest, path, default)

    def remove_artifact(self, artifact: str) -> str | None:
        """Removes an SAE with its features, labels, evaluations and reports. Raises ArtifactNotFound.

        Returns the id of the artifact that became the model's default in its place: the latest of the others.
        """
        heir = drop_artifact(self._session, owned_artifact(self._session, artifact))
        return None if heir is None else heir.id

    def promote_artifact(self, artifact: str) -> str | None:
        """Makes an SAE its model's default; returns the id of the one that it replaces. Raises ArtifactNotFound."""
        former = make_default(self._session, owned_artifact(self._session, artifact))
        return None if former is None else former.id

    def put_artifact_alias(self, artifact: str, name: str) -> str | None:
        """Gives an SAE one more name, and takes it from another that has it, whose id is returned.

        Raises ArtifactNotFound; InvalidInput for a blank or long name, or one that is an artifact's own.
        """
        return save_alias(self._session, owned_artifact(self._session, artifact).id, name)

    def remove_artifact_alias(self, artifact: str, name: str) -> None:
        """Takes an alias from its SAE. Raises ArtifactNotFound, also where the SAE has no such alias."""
        drop_alias(self._session, owned_artifact(self._session, artifact).id, name)

    def put_evaluation(self, evaluation: Evaluation) -> None:
        """Stores what an artifact scored as its latest evaluation. Raises ArtifactNotFound."""
        owned_artifact(self._session, evaluation.artifact)
        save_evaluation(self._session, evaluation)

    def put_features(self, artifact: str, rows: Iterable[FeatureRow] | PreparedRows) -> list[str]:
        """Makes ``rows`` the artifact's features and returns their ids in order.

        Many rows are better prepared before the transaction begins: nobody else can write until it ends.

        Statistics of known latents are replaced, their labels and calibration kept; features of latents that are not in
        ``rows`` go.
        Raises ArtifactNotFound; InvalidInput where a latent comes twice or lies outside the SAE.
        """
        prepared = rows if isinstance(rows, PreparedRows) else PreparedRows(rows)
        return save_features(self._session, owned_artifact(self._session, artifact), prepared)

    def put_label(self, feature: str, outcome: Outcome, provenance: Provenance) -> int:
        """Adds a version of a feature's label, or of the reason why there is none, and returns its number.

        A label becomes the feature's name, and what it was called before an alias; a reason leaves them alone. What
        equals the latest version is not stored again. Raises FeatureNotFound.
        """
        return self.put_labels({feature: (outcome, provenance)})[feature]

    def put_labels(self, labels: Mapping[str, tuple[Outcome, Provenance]]) -> dict[str, int]:
        """``put_label`` for many features at once, by id. Raises FeatureNotFound."""
        return save_labels(self._session, labels, datetime.now(UTC).isoformat(timespec="seconds"))

    def put_alias(self, feature: str, name: str) -> None:
        """Gives a feature one more name. Raises FeatureNotFound; InvalidInput for a blank name."""
        self.reader.feature(feature)
        if not (key := fold(name)):
            raise InvalidInput("an alias has at least one visible character", param="name")
        query = select(NameRecord.id).where(NameRecord.feature_id == feature, NameRecord.key == key)
        if self._session.scalars(query).first() is None:
            values = {"feature_id": feature, "name": name, "key": key, "kind": NameKind.GIVEN.value}
            self._session.execute(insert(NameRecord).values(**values))

    def put_calibration(self, feature: str, calibration: Calibration) -> None:
        """Stores what weight 1.0 means for a feature, and how well it steers. Raises FeatureNotFound."""
        self.put_calibrations({feature: calibration})

    def put_calibrations(self, calibrations: Mapping[str, Calibration]) -> None:
        """``put_calibration`` for many features at once, by id. Raises FeatureNotFound."""
        owners_of(self._session, calibrations)
        save_calibrations(self._session, calibrations)

    def put_report(self, report: DriftReport) -> None:
        """Stores a drift report as the latest on its artifact and model. Raises ArtifactNotFound."""
        owned_artifact(self._session, report.artifact)
        save_report(self._session, report)
