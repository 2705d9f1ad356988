"""`featurehub drift check`: does an SAE still hold on a model? The report goes into the database.

1. compare the fingerprints: on the function that it was trained on, an SAE is fresh and nothing is run
2. otherwise start the model and ask the remaining questions of ``saes.drift.check``
"""

from contextlib import closing
from pathlib import Path

from featurehub.artifacts.artifact import Artifact, open_artifact, verify
from featurehub.artifacts.fingerprint import identify
from featurehub.artifacts.fits import check_fits
from featurehub.artifacts.manifest import ModelIdentity
from featurehub.engine.offline import EngineOptions
from featurehub.records import Label
from featurehub.runs.engines import Engines
from featurehub.runs.judges import judge_called
from featurehub.runs.progress import SILENT, Progress
from featurehub.store import Store, check_writable, open_store
from featurehub.verdicts import DriftReport
from saes.drift.check import CheckConfig, by_construction, check

__all__ = ["check_drift"]


def check_drift(
    sae: Path, model: Path, database: str, config: CheckConfig | None = None, progress: Progress = SILENT
) -> DriftReport:
    """Checks an SAE on a model and stores the report.

    Args:
        sae: Folder of the artifact.
        model: Folder of the model.
        database: Path of the feature database.
        config: How features are checked; None for the defaults.
        progress: Receives progress reports.

    Returns:
        The stored report.

    Raises:
        ArtifactNotFound: The folder holds no artifact.
        CorruptArtifact: The artifact's files are damaged.
        ModelNotFound: The model's folder is not there.
        UnsupportedModel: The engine cannot read this model.
        IncompatibleArtifact: The SAE reads a stream of another width than the model's.
        InvalidInput: The model cannot be read, or the SAE's labels were judged by a judge that is not known here.
        StoreReadOnly: The database can only be read.
    """
    check_writable(database)
    artifact = open_artifact(sae.resolve())
    verify(artifact)
    identity = identify(model, artifact.manifest.hook)
    check_fits(artifact, identity)
    engines = Engines(model, EngineOptions(), progress)
    with closing(open_store(database)) as store:
        report = checked(artifact, identity, engines, labelled(store, artifact), config or CheckConfig(), progress)
        with store.write() as writer:
            writer.put_report(report)
    return report


def labelled(store: Store, artifact: Artifact) -> dict[int, Label]:
    """The labels of an artifact's features that have one, by latent."""
    with store.read() as reader:
        return reader.labels(artifact.manifest.id)


def checked(
    artifact: Artifact,
    identity: ModelIdentity,
    engines: Engines,
    labels: dict[int, Label],
    config: CheckConfig,
    progress: Progress,
) -> DriftReport:
    if report := by_construction(artifact, identity, labels):
        return report
    progress.say(f"another function: {', '.join(artifact.manifest.model.differences(identity))}")
    judge = judge_called(artifact.manifest.judge)
    with engines.answering(artifact.manifest.hook) as engine:
        return check(artifact, identity, engine, labels, judge, config, progress.say)
