"""`featurehub train`: trains one or more SAEs on one stream. Each becomes an artifact; no labels, no database.

1. harvest and train, as a build does
2. evaluate each SAE on the held-out documents and seal it under ``out``, in a folder named after its recipe

`featurehub label` does the rest of a build for the SAE that you choose.
"""

import shutil
from collections.abc import Sequence

from featurehub.artifacts.artifact import WEIGHTS, Artifact, open_artifact
from featurehub.artifacts.files import replace_folder
from featurehub.runs.baseline import seal_trained
from featurehub.runs.deadline import Deadline
from featurehub.runs.engines import Engines
from featurehub.runs.progress import SILENT, Progress
from featurehub.runs.training import FollowUp, TrainPlan, train_saes
from featurehub.token_ids import Message

__all__ = ["train_artifacts"]


def train_artifacts(
    plan: TrainPlan, entries: Sequence[str | list[Message]], progress: Progress = SILENT
) -> list[Artifact]:
    """Trains one SAE per recipe and seals each as an artifact.

    Args:
        plan: What to train, and where.
        entries: The texts or chats to train and measure on.
        progress: Receives progress reports.

    Returns:
        One artifact per recipe, in the order of ``plan.training.recipes``.

    Raises:
        ModelNotFound: The model's folder is not there or cannot be read.
        UnsupportedModel: The engine cannot read this model.
        InvalidInput: The plan does not suit the model, or there is too little text.
        BudgetExceeded: The budget is too small for any training, or the disk for the harvest.
        CorruptArtifact: A parent's files are damaged.
    """
    deadline = Deadline.of(plan.training.budget)
    trained, baseline = train_saes(plan, entries, FollowUp(deadline), progress)
    material = trained.material
    with Engines(plan.model, plan.engine, progress).answering(material.hook) as engine:
        for made, sae in zip(trained.saes, trained.seen, strict=True):
            with replace_folder(plan.out / str(made.recipe)) as folder:
                made.dictionary.save(folder / WEIGHTS)
                name = f"{plan.out.name}-{made.recipe}"
                seal_trained(baseline, engine, material, made, sae, folder, progress, name=name)
    shutil.rmtree(trained.partial)
    return [open_artifact(plan.out / str(recipe)) for recipe in plan.training.recipes]
