"""`featurehub label`: writes names, statistics and strengths of an artifact's features to the database.

1. compare the fingerprints: an SAE may only be labelled on the function that it was trained on
2. encode the texts that a build would have held out, then label, calibrate and register
"""

from collections.abc import Sequence
from pathlib import Path

from pydantic import Field

from featurehub.artifacts.artifact import Artifact, verify
from featurehub.artifacts.fingerprint import identify
from featurehub.artifacts.fits import check_fits
from featurehub.dictionary import Dictionary
from featurehub.engine.config import EngineConfig
from featurehub.engine.offline import EngineOptions
from featurehub.errors import IncompatibleArtifact
from featurehub.runs.baseline import DOCUMENTS, evaluated
from featurehub.runs.engines import Engines
from featurehub.runs.material import MaterialConfig, material_of
from featurehub.runs.progress import SILENT, Progress
from featurehub.runs.register import BuildJudge, Registration, register
from featurehub.settings import Frozen
from featurehub.store import check_writable
from labeling.strength import CalibrationConfig
from saes.texts import Message

__all__ = ["LabelPlan", "label_artifact"]


class LabelPlan(Frozen):
    """Everything that labelling depends on except the text.

    Attributes:
        model: Folder of the model.
        database: Path of the feature database.
        material: How the text is cut and split; labels come from the held-out documents.
        documents: Most held-out documents that labels and statistics are computed from.
        calibration: How the strengths of features are calibrated.
        engine: Options of the engine that runs the model.
    """

    model: Path
    database: str
    material: MaterialConfig = MaterialConfig()
    documents: int = Field(default=DOCUMENTS, ge=1)
    calibration: CalibrationConfig = CalibrationConfig()
    engine: EngineOptions = EngineOptions()


def label_artifact(
    plan: LabelPlan,
    artifact: Artifact,
    entries: Sequence[str | list[Message]],
    judge: BuildJudge,
    prompts: Sequence[list[Message] | str],
    progress: Progress = SILENT,
) -> None:
    """Labels and calibrates an artifact's features, and registers them.

    Args:
        plan: How to label, and where to register.
        artifact: The artifact to label.
        entries: The texts or chats to label on, split as a build splits them.
        judge: Judges whether an answer shows what a label names.
        prompts: The prompts that strengths are calibrated on.
        progress: Receives progress reports.

    Raises:
        ModelNotFound: The model's folder is not there.
        IncompatibleArtifact: The model is not known to be the one that the SAE was trained on.
        UnsupportedModel: The engine cannot steer this model.
        CorruptArtifact: The artifact's files are damaged.
        InvalidInput: The model cannot be read, or there is too little text.
        InvalidConfig: The database cannot be opened.
        StoreError: The database cannot be written. After labelling, the message says how to register the features.
    """
    check_writable(plan.database)
    verify(artifact)
    with progress.phase("identifying the model"):
        hook = artifact.manifest.hook
        identity = identify(plan.model, hook)
    check_fits(artifact, identity)
    if differing := artifact.manifest.model.differences(identity):
        raise IncompatibleArtifact(
            f"{plan.model} is not the model that {artifact.manifest.name} was trained on "
            f"({artifact.manifest.model.name}): they differ in {', '.join(differing)}, or the artifact does not record "
            "it. Give that model, or see what holds on this one with `featurehub drift check`",
            param="model",
        )
    registration = Registration(plan.model, artifact.folder, plan.database, plan.calibration, judge, prompts)
    with Engines(plan.model, plan.engine, progress).steering(EngineConfig.holding(artifact)) as engine:
        material = material_of(plan.material, engine, identity, hook, entries, progress)
        held_out = material.held_out[: plan.documents]
        sae = evaluated(engine, Dictionary.load(artifact.weights), held_out, progress)
        unregistered = register(registration, engine, artifact.folder, sae, progress)
    if unregistered is not None:
        raise unregistered
