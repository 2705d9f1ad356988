"""`featurehub train`: one or several SAEs on one stream, each an artifact, without labels and without a database.

1. harvest and train, as a build does
2. evaluate each SAE on the held-out documents and seal it, under ``out``, in a folder named after its recipe

`featurehub label` does the rest of a build for the one that is chosen.
"""

import shutil
from collections.abc import Sequence

from featurehub.artifacts.artifact import WEIGHTS, Artifact, open_artifact
from featurehub.artifacts.files import replace_folder
from featurehub.runs.engines import Engines
from featurehub.runs.progress import SILENT, Progress
from featurehub.runs.training import TrainPlan, seal_trained, train_saes
from saes.texts import Message

__all__ = ["train_artifacts"]


def train_artifacts(
    plan: TrainPlan, entries: Sequence[str | list[Message]], progress: Progress = SILENT
) -> list[Artifact]:
    """Raises ModelNotFound, UnsupportedModel, InvalidInput, BudgetExceeded; what is done is kept for the next start."""
    material, saes, partial = train_saes(plan, entries, progress)
    with Engines(plan.model, plan.engine, progress).answering(material.hook) as engine:
        for made in saes:
            with replace_folder(plan.out / str(made.recipe)) as folder:
                made.dictionary.save(folder / WEIGHTS)
                name = f"{plan.out.name}-{made.recipe}"
                seal_trained(plan.baseline, engine, material, made, folder, progress, name=name)
    shutil.rmtree(partial)
    return [open_artifact(plan.out / str(recipe)) for recipe in plan.training.recipes]
