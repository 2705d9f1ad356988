"""`featurehub label`: writes names, statistics and strengths of an artifact's features to the database.

1. compare the fingerprints: an SAE may only be labelled on the function that it was trained on
2. encode the texts that a build would have held out, label, register, then calibrate
3. embed what was labelled, so that search finds it by meaning, unless there is a budget of time

Labelling that was stopped once its features were registered goes on with the calibration when it is started again.
"""

import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from pydantic import Field

from featurehub.artifacts.artifact import Artifact
from featurehub.dictionary import Dictionary
from featurehub.engine.config import EngineConfig
from featurehub.engine.offline import EngineOptions
from featurehub.runs.baseline import DOCUMENTS, BaselineConfig, evaluated
from featurehub.runs.basis import CalibrationBasis, digest_of
from featurehub.runs.calibrate import calibrate_registered
from featurehub.runs.deadline import Deadline
from featurehub.runs.embed import embed_if_possible
from featurehub.runs.engines import Engines
from featurehub.runs.judges import BuildJudge
from featurehub.runs.matching import identify_own
from featurehub.runs.material import MaterialConfig, material_of
from featurehub.runs.phases import EVALUATE, LABEL, PhasePlan, forecast_labelling
from featurehub.runs.progress import SILENT, Progress
from featurehub.runs.register import LENIENT, describe, register
from featurehub.runs.speeds import measure_speeds
from featurehub.settings import Frozen
from featurehub.store import check_writable, open_store
from labeling.calibration import CalibrationConfig
from saes.budget import Budget
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
        budget: The most time to spend.
        engine: Options of the engine that runs the model.
    """

    model: Path
    database: str
    material: MaterialConfig = MaterialConfig()
    documents: int = Field(default=DOCUMENTS, ge=1)
    calibration: CalibrationConfig = CalibrationConfig()
    budget: Budget = Budget()
    engine: EngineOptions = EngineOptions()


def label_artifact(
    plan: LabelPlan,
    artifact: Artifact,
    entries: Sequence[str | list[Message]],
    judge: BuildJudge,
    prompts: Sequence[list[Message] | str],
    progress: Progress = SILENT,
) -> None:
    """Labels an artifact's features, registers them, and calibrates them as far as there is time.

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
    deadline = Deadline.of(plan.budget)
    digest = digest_of(entries, plan.material, plan.documents)
    basis = CalibrationBasis.of(judge, prompts, made_from=digest, calibration=plan.calibration)
    identity, hook = identify_own(artifact, plan.model, progress), artifact.manifest.hook
    began = time.monotonic()
    with Engines(plan.model, plan.engine, progress).steering(EngineConfig.holding(artifact)) as engine:
        start = time.monotonic() - began
        if is_labelled(artifact, digest, plan.database):
            progress.say(f"{artifact.manifest.name} is labelled already on this text: its calibration goes on")
            until = PhasePlan([], deadline, patient=True).calibrate_until(0.0)
            calibrate_registered(engine, artifact, basis, plan.database, until, progress)
            return
        dictionary = Dictionary.load(artifact.weights)
        material = material_of(plan.material, engine, identity, hook, entries, progress)
        speeds = measure_speeds(engine, dictionary, material.held_out, start, progress)
        baseline, steps, d_sae = BaselineConfig(documents=plan.documents), (EVALUATE, LABEL), dictionary.d_sae
        calibration, documents = plan.calibration, material.held_out
        forecast = forecast_labelling(speeds, baseline, documents, d_sae, steps, calibration, deadline, progress)
        held_out = material.held_out[: forecast.baseline.documents]
        sae = evaluated(engine, dictionary, held_out, progress, artifact.manifest.span)
        described = describe(plan.model, engine, sae, progress, LENIENT if deadline.is_bound else None)
        register(artifact, described, plan.calibration, plan.database, progress)
        basis.keep(artifact.folder, progress)
        until = PhasePlan([], deadline, patient=True).calibrate_until(0.0)
        calibrate_registered(engine, artifact, basis, plan.database, until, progress, speeds.steered)
    if not deadline.is_bound:
        embed_if_possible(plan.database, artifact.manifest.id, progress)


def is_labelled(artifact: Artifact, digest: str, database: str) -> bool:
    """Whether the features that the database has of an artifact were labelled from this."""
    found = CalibrationBasis.find(artifact.folder)
    if found is None or found.made_from != digest:
        return False
    with closing(open_store(database)) as store, store.read() as reader:
        return any(each.id == artifact.manifest.id for each in reader.artifacts())
