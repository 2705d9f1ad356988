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

Harvest and training keep what they have beside the artifact, in a folder named after what they depend on. A build that
is started again goes on from there; the folder goes when the build is done.
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
    """Everything a build depends on but the text; it has one recipe."""

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
    """Builds and registers the artifact in ``plan.out``. ``prompts`` are what strengths are calibrated on.

    Raises ModelNotFound, UnsupportedModel, InvalidInput, BudgetExceeded; nothing is left half-built. StoreError, where
    all is built but the database cannot be written, says how to register it.
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
