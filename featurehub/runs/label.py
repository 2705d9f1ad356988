"""`featurehub label`: writes names, statistics and strengths of an artifact's features to the database.

1. compare the fingerprints: an SAE may only be labelled on the function that it was trained on
2. encode the texts that a build would have held out, and register the features without names
3. name them, each as soon as its name is found (``featurehub.runs.naming``), then calibrate
4. embed what was labelled, so that search finds it by meaning, and map it, unless there is a budget of time

Labelling that was stopped goes on when it is started again: what a language model was asked is not asked again, and
once all features are named, only the calibration is left.
"""

import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from pydantic import Field

from featurehub.artifacts.artifact import Artifact
from featurehub.dictionary import Dictionary
from featurehub.engine.config import EngineConfig
from featurehub.engine.offline import Engine, EngineOptions
from featurehub.runs.baseline import DOCUMENTS, BaselineConfig, evaluated
from featurehub.runs.basis import CalibrationBasis, digest_of
from featurehub.runs.calibrate import calibrate_registered
from featurehub.runs.deadline import UNBOUNDED, Deadline
from featurehub.runs.embed import embed_if_possible
from featurehub.runs.engines import Engines
from featurehub.runs.judges import BuildJudge
from featurehub.runs.labelers import NamingConfig
from featurehub.runs.mapping import map_if_possible
from featurehub.runs.matching import identify_own
from featurehub.runs.material import MaterialConfig, material_of
from featurehub.runs.naming import name_features
from featurehub.runs.phases import EVALUATE, LABEL, PhasePlan, forecast_labelling
from featurehub.runs.progress import SILENT, Progress
from featurehub.runs.register import register_unnamed
from featurehub.runs.speeds import Speeds, measure_speeds
from featurehub.runs.survey import Survey, survey_features
from featurehub.settings import Frozen
from featurehub.store import check_writable, open_store
from featurehub.token_ids import Message
from labeling.calibration import CalibrationConfig
from saes.budget import Budget
from saes.documents import Document

__all__ = ["LabelPlan", "label_artifact"]

UNSEEN = {"url", "at_once", "timeout", "attempts", "limits"}
"""What of a language model's configuration changes nothing that it is asked."""


class LabelPlan(Frozen):
    """Everything that labelling depends on except the text.

    Attributes:
        model: Folder of the model.
        database: Path of the feature database.
        material: How the text is cut and split; labels come from the held-out documents.
        documents: Most held-out documents that labels and statistics are computed from.
        naming: How features are named.
        calibration: How the strengths of features are calibrated.
        budget: The most time to spend, but for what a language model takes, which has a budget of its own.
        engine: Options of the engine that runs the model.
    """

    model: Path
    database: str
    material: MaterialConfig = MaterialConfig()
    documents: int = Field(default=DOCUMENTS, ge=1)
    naming: NamingConfig = NamingConfig()
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
        InvalidInput: The model cannot be read, there is too little text, or the language model's endpoint is of no use.
        InvalidConfig: The database cannot be opened.
        BudgetExceeded: Too many of the features that were asked for got no name.
        StoreError: The database cannot be written.
    """
    plan.naming.checked()
    check_writable(plan.database)
    deadline = Deadline.of(plan.budget)
    naming = [] if plan.naming == NamingConfig() else [plan.naming.model_dump_json(exclude={"llm": UNSEEN})]
    digest = digest_of(entries, plan.material, plan.documents, *naming)
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
        material = material_of(plan.material, engine, identity, hook, entries, progress)
        speeds = measure_speeds(engine, Dictionary.load(artifact.weights), material.held_out, start, progress)
        survey = survey_and_register(plan, engine, artifact, material.held_out, speeds, deadline, progress)
        began = time.monotonic()
        left = name_features(plan.naming, survey, artifact, plan.calibration, plan.database, progress)
        if plan.naming.asks:
            deadline = deadline._replace(began=deadline.began + time.monotonic() - began)
        basis.model_copy(update={"made_from": "" if left else digest}).keep(artifact.folder, progress)
        until = PhasePlan([], deadline, patient=True).calibrate_until(0.0)
        calibrate_registered(engine, artifact, basis, plan.database, until, progress, speeds.steered)
    if not deadline.is_bound:
        embed_if_possible(plan.database, artifact.manifest.id, progress)
        map_if_possible(artifact, plan.database, progress)


def survey_and_register(
    plan: LabelPlan,
    engine: Engine,
    artifact: Artifact,
    documents: Sequence[Document],
    speeds: Speeds,
    deadline: Deadline,
    progress: Progress,
) -> Survey:
    """Step 2. What the database has then is left out of the survey, and not kept in memory while a model is asked.

    Args:
        plan: How to label, and where to register.
        engine: Reads the documents.
        artifact: The artifact.
        documents: The held-out documents.
        speeds: Speeds of the engine.
        deadline: When the run should be done.
        progress: Receives progress reports.

    Raises:
        StoreError: The database cannot be written.
    """
    dictionary, baseline = Dictionary.load(artifact.weights), BaselineConfig(documents=plan.documents)
    steps, d_sae, calibration = (EVALUATE, LABEL), dictionary.d_sae, plan.calibration
    # How many documents there is time for differs from run to run, and with it what a language model is asked.
    bound = UNBOUNDED if plan.naming.asks else deadline
    forecast = forecast_labelling(speeds, baseline, documents, d_sae, steps, calibration, bound, progress)
    chosen, span = documents[: forecast.baseline.documents], artifact.manifest.span
    survey = survey_features(plan.model, engine, evaluated(engine, dictionary, chosen, progress, span), progress)
    register_unnamed(artifact, survey, plan.database, progress)
    return survey._replace(rows=[], words={})


def is_labelled(artifact: Artifact, digest: str, database: str) -> bool:
    """Whether the features that the database has of an artifact were labelled from this."""
    found = CalibrationBasis.find(artifact.folder)
    if found is None or found.made_from != digest:
        return False
    with closing(open_store(database)) as store, store.read() as reader:
        return any(each.id == artifact.manifest.id for each in reader.artifacts())
