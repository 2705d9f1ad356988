"""`featurehub train`: one or several SAEs on one stream, each an artifact, without labels and without a database.

1. harvest and train, as a build does
2. evaluate each SAE on the held-out documents and seal it, under ``out``, in a folder named after its recipe

`featurehub label` does the rest of a build for the one that is chosen.
"""

import shutil
from collections.abc import Sequence

from rich.table import Table

from featurehub.artifacts.artifact import Artifact, open_artifact
from featurehub.artifacts.files import replace_folder
from featurehub.cli.progress import phase
from featurehub.runs.harvest import identify_hook
from featurehub.runs.material import material_of
from featurehub.runs.training import (
    TrainPlan,
    answering,
    harvest_and_train,
    harvesting,
    partial_folder,
    seal_trained,
)
from saes.texts import Message

__all__ = ["table_of", "train_artifacts"]


def train_artifacts(plan: TrainPlan, entries: Sequence[str | list[Message]]) -> list[Artifact]:
    """Raises ModelNotFound, UnsupportedModel, InvalidInput, BudgetExceeded; what is done is kept for the next start."""
    with phase("identifying the model"):
        identity, hook = identify_hook(plan.model, plan.layer, plan.site)
    with harvesting(plan, hook) as engine:
        material = material_of(plan, engine, identity, hook, entries)
        partial = partial_folder(plan, material)
        material, trained = harvest_and_train(plan, engine, material, partial)
    with answering(plan, hook) as engine:
        for made in trained:
            with replace_folder(plan.out / str(made.recipe)) as folder:
                seal_trained(plan, engine, material, made, folder, f"{plan.out.name}-{made.recipe}")
    shutil.rmtree(partial)
    return [open_artifact(plan.out / str(recipe)) for recipe in plan.recipes]


def table_of(artifacts: Sequence[Artifact]) -> Table:
    table = Table("SAE", "EV", "L0", "dead", "folder")
    for artifact in artifacts:
        metrics = artifact.manifest.metrics
        numbers = (f"{metrics['explained_variance']:.3f}", f"{metrics['l0']:.1f}", f"{metrics['dead']:.1%}")
        table.add_row(artifact.folder.name, *numbers, str(artifact.folder))
    return table
