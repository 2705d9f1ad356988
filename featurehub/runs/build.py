"""`featurehub build`: a model and text become an SAE artifact, labelled features, and calibrated strengths.

1. identify the model: fingerprints of its weights, tokenizer and template
2. split the documents into training, and held-out ones that everything after training is measured on
3. harvest through the engine, and train
4. evaluate, and observe what the features do on held-out documents
5. choose the canaries, and let the model answer their prompts: the baseline of every later drift check
6. seal the artifact
7. label every live latent
8. calibrate strengths by steering
9. register artifact, features, labels and strengths in the database, in one transaction

Harvest and training keep their unfinished work beside the artifact, in a folder named after everything they depend on.
A build that is started again resumes from there; the folder is deleted when the build is done.
"""

import shutil
from collections.abc import Sequence

from featurehub.artifacts.artifact import Artifact, open_artifact
from featurehub.artifacts.files import replace_folder
from featurehub.runs.engines import Engines, holding
from featurehub.runs.progress import SILENT, Progress
from featurehub.runs.register import BuildJudge, Registration, register
from featurehub.runs.training import TrainPlan, seal_trained, train_saes
from featurehub.store import check_writable
from labeling.strength import CalibrationConfig
from saes.texts import Message

__all__ = ["BuildPlan", "build"]


class BuildPlan(TrainPlan):
    """Everything that a build depends on except the text. ``training`` must have exactly one recipe.

    Attributes:
        database: Path of the feature database.
        name: Name of the artifact.
        calibration: How the strengths of features are calibrated.
    """

    database: str
    name: str
    calibration: CalibrationConfig = CalibrationConfig()


def build(
    plan: BuildPlan,
    entries: Sequence[str | list[Message]],
    judge: BuildJudge,
    prompts: Sequence[list[Message] | str],
    progress: Progress = SILENT,
) -> Artifact:
    """Builds an artifact, labels and calibrates its features, and registers them.

    Args:
        plan: What to build, and where.
        entries: The texts or chats to train and measure on.
        judge: Judges whether an answer shows what a label names.
        prompts: The prompts that strengths are calibrated on.
        progress: Receives progress reports.

    Returns:
        The artifact in ``plan.out``.

    Raises:
        ModelNotFound: The model's folder is not there or cannot be read.
        UnsupportedModel: The engine cannot steer this model.
        InvalidInput: The plan does not suit the model, or there is too little text.
        BudgetExceeded: The budget ran out; finished work is kept for the next start.
        CorruptArtifact: A parent's files are damaged.
        InvalidConfig: The database cannot be opened.
        StoreError: The database cannot be written. If the artifact was built, the message says how to register it.
    """
    check_writable(plan.database)
    material, [made], partial = train_saes(plan, entries, progress)
    registration = Registration(plan.model, plan.out, plan.database, plan.calibration, judge, prompts)
    with replace_folder(plan.out) as folder:
        config = holding(made.dictionary, material.hook, folder)
        with Engines(plan.model, plan.engine, progress).steering(config) as engine:
            named = {"name": plan.name, "judge": judge.name}
            sae = seal_trained(plan.baseline, engine, material, made, folder, progress, **named)
            unregistered = register(registration, engine, folder, sae, progress)
    shutil.rmtree(partial)
    if unregistered is not None:
        raise unregistered
    return open_artifact(plan.out)
