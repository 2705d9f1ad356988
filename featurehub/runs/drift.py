"""`featurehub drift check`: does an SAE still hold on a model? The report goes into the database.

1. compare the fingerprints: on the function that it was trained on, an SAE is fresh and nothing is run
2. otherwise start the model and ask the remaining questions of ``saes.drift.check``
"""

import time
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from featurehub.artifacts.artifact import Artifact, open_artifact, verify
from featurehub.artifacts.fingerprint import identify
from featurehub.artifacts.fits import check_fits
from featurehub.artifacts.manifest import ModelIdentity
from featurehub.engine.offline import EngineOptions
from featurehub.records import Label
from featurehub.runs.engines import Engines
from featurehub.runs.judges import judge_called
from featurehub.runs.progress import SILENT, Progress
from featurehub.runs.usage import most_used
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
    engines, config = Engines(model, EngineOptions(), progress), config or CheckConfig()
    with closing(open_store(database)) as store:
        report = checked(artifact, identity, engines, known_of(store, artifact), config, progress)
        with store.write() as writer:
            writer.put_report(report)
    return report


class Known(NamedTuple):
    """What the database knows of an artifact's features: labels by latent, and the latents, the most used first."""

    labels: dict[int, Label]
    order: list[int]


def known_of(store: Store, artifact: Artifact) -> Known:
    with store.read() as reader:
        return Known(reader.labels(artifact.manifest.id), most_used(reader, artifact.manifest.id))


def checked(
    artifact: Artifact,
    identity: ModelIdentity,
    engines: Engines,
    known: Known,
    config: CheckConfig,
    progress: Progress,
) -> DriftReport:
    began = time.monotonic()
    if report := by_construction(artifact, identity, known.labels):
        return report
    progress.say(f"another function: {', '.join(artifact.manifest.model.differences(identity))}")
    judge = judge_called(artifact.manifest.judge)
    with engines.answering(artifact.manifest.hook) as engine:
        config = config.model_copy(update={"budget": config.budget.less(time.monotonic() - began)})
        report = check(artifact, identity, engine, known.labels, judge, config, progress.work, known.order)
        return report.model_copy(update={"weights": engine.weights})
