"""An artifact's features as the database has them, for calibration to read and write."""

from collections.abc import Mapping, Sequence
from contextlib import closing
from typing import NamedTuple, Self

from featurehub.artifacts.artifact import Artifact
from featurehub.dictionary import Dictionary
from featurehub.records import Calibration, Labeled
from featurehub.runs.register import candidates_of
from featurehub.store import open_store
from featurehub.store.statistics import id_of
from labeling.label import LatentLabel
from labeling.strength import Candidate

__all__ = ["RegisteredFeatures"]


class RegisteredFeatures(NamedTuple):
    """The labels and calibrations of an artifact.

    Attributes:
        database: Path of the feature database.
        artifact: Id of the artifact.
        labels: A label or a reason for every latent that has one.
        calibrations: By latent.
        candidates: The labelled features, as calibration takes them.
        median_norm: Median ‖x‖ of the stream at the SAE's hook point.
    """

    database: str
    artifact: str
    labels: list[LatentLabel]
    calibrations: Mapping[int, Calibration]
    candidates: list[Candidate]
    median_norm: float

    @classmethod
    def read(cls, database: str, artifact: Artifact) -> Self:
        """Reads the features of an artifact.

        Raises:
            ArtifactNotFound: It is not registered in the database.
        """
        with closing(open_store(database)) as store, store.read() as reader:
            found = reader.feature_set(artifact.manifest.id)
        labels = [LatentLabel(latent, *label) for latent, label in found.labels.items()]
        candidates = candidates_of(Dictionary.load(artifact.weights), labels)
        norm = artifact.manifest.metrics["median_norm"]
        return cls(database, artifact.manifest.id, labels, found.calibrations, candidates, norm)

    @property
    def measured(self) -> dict[int, Calibration]:
        """The calibrations that do not wait to be found by steering, by latent."""
        return {latent: each for latent, each in self.calibrations.items() if each.steerability is not None}

    @property
    def measured_names(self) -> frozenset[str]:
        """The names that have been steered."""
        measured = self.measured
        outcomes = {each.latent: each.outcome for each in self.labels}
        steered = (outcomes.get(latent) for latent, each in measured.items() if each.method == "steered")
        return frozenset(outcome.label.name for outcome in steered if isinstance(outcome, Labeled))

    def waiting(self, names_too: bool = True) -> list[Candidate]:
        """The features that were never steered and have a label that tells something.

        Args:
            names_too: Whether those are among them whose name another feature was steered by.
        """
        measured, steered = self.measured, frozenset[str]() if names_too else self.measured_names
        unmeasured = (each for each in self.candidates if each.latent not in measured and each.name not in steered)
        return [each for each in unmeasured if each.label_score > 0]

    def only(self, latents: Sequence[int]) -> list[Candidate]:
        """The candidates among these latents, each as a name of its own."""
        return [each._replace(name=str(each.latent)) for each in self.candidates if each.latent in latents]

    def write(self, calibrations: Mapping[int, Calibration], labels: Sequence[LatentLabel] = ()) -> None:
        """Writes calibrations and labels in one transaction. Calibrations founded on more answers stay.

        Args:
            calibrations: By latent.
            labels: The labels that have changed.

        Raises:
            StoreError: The database cannot be written.
        """
        with closing(open_store(self.database)) as store, store.write() as writer:
            writer.improve_calibrations({id_of(self.artifact, latent): each for latent, each in calibrations.items()})
            writer.put_labels({id_of(self.artifact, each.latent): (each.outcome, each.provenance) for each in labels})
