"""Harvest and training, as `featurehub build` and `featurehub train` do them.

1. Measure rates and report what the job will cost. A budget decides how many tokens to train on.
2. Harvest the text, or read it as training asks for it (``featurehub.runs.chunks``).
3. Train, resuming from whatever an earlier run left in the partial folder.
"""

import random
import time
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import NamedTuple

from pydantic import Field

from featurehub.artifacts.artifact import open_artifact, seal, verify
from featurehub.artifacts.manifest import Site
from featurehub.dictionary import Dictionary
from featurehub.engine.offline import Engine, EngineOptions
from featurehub.runs.baseline import BaselineConfig, EvaluatedSae, evaluated, keep_baseline, manifest_fields
from featurehub.runs.chunks import HarvestSource, chunks_of
from featurehub.runs.costs import Training, negotiate_cost, stream_of, training_bar
from featurehub.runs.engines import Engines
from featurehub.runs.harvest import identify_hook
from featurehub.runs.material import Material, MaterialConfig, dataset_of, material_of, take_until
from featurehub.runs.partial import partial_folder
from featurehub.runs.progress import Progress
from featurehub.settings import Frozen
from saes.cost import Job, measure
from saes.documents import Document, special_ids, text_hash
from saes.recipes import Recipe
from saes.report import write_report
from saes.stream import Chunks
from saes.texts import Message
from saes.train import TrainedSae, train, trial

__all__ = ["SaeTraining", "TrainPlan", "TrainedSaes", "harvest_and_train", "seal_trained", "train_saes"]

REPORT = "training.html"


class SaeTraining(Training):
    """How SAEs are trained.

    Attributes:
        recipes: One SAE each, all trained on one stream.
        parents: Folders of the SAEs that recipes start from.
        shards: Folder in which to keep the harvest. With None, shards are written only if training needs them, and
            deleted when the run is done.
    """

    recipes: tuple[Recipe, ...] = Field(default=(Recipe(),), min_length=1)
    parents: tuple[Path, ...] = ()
    shards: Path | None = None


class TrainPlan(Frozen):
    """Everything that a training run depends on except the text.

    Attributes:
        model: Folder of the model.
        out: Folder to write to.
        layer: Hook layer; None for the layer at about 70 % of the depth.
        site: Where in the layer to read.
        material: How the text is cut and split.
        training: What is trained, and how.
        baseline: How the SAEs are evaluated.
        engine: Options of the engines that read the model.
    """

    model: Path
    out: Path
    layer: int | None = None
    site: Site = Site.RESID_POST
    material: MaterialConfig = MaterialConfig()
    training: SaeTraining = SaeTraining()
    baseline: BaselineConfig = BaselineConfig()
    engine: EngineOptions = EngineOptions()


class TrainedSaes(NamedTuple):
    """What ``train_saes`` made.

    Attributes:
        material: The material, with only those training documents that were read.
        saes: One per recipe.
        partial: Folder of unfinished work; the caller deletes it when the run is done.
    """

    material: Material
    saes: list[TrainedSae]
    partial: Path


def train_saes(plan: TrainPlan, entries: Sequence[str | list[Message]], progress: Progress) -> TrainedSaes:
    """Starts an engine of the layers up to the hook point, and harvests and trains with it.

    Raises:
        ModelNotFound: The model's folder is not there or cannot be read.
        UnsupportedModel: The engine cannot read this model.
        InvalidInput: The plan does not suit the model, or there is too little text.
        BudgetExceeded: The budget ran out; finished work is kept for the next start.
        CorruptArtifact: A parent's or the checkpoint's files are damaged.
    """
    with progress.phase("identifying the model"):
        identity, hook = identify_hook(plan.model, plan.layer, plan.site)
    with Engines(plan.model, plan.engine, progress).reading(hook) as engine:
        material = material_of(plan.material, engine, identity, hook, entries, progress)
        partial = folder_of(plan.out, plan.training, material)
        return harvest_and_train(plan.training, engine, material, partial, progress)


def folder_of(out: Path, training: SaeTraining, material: Material) -> Path:
    parts = (training.recipes, training.config, training.harvest, training.buffer_tokens)
    return partial_folder(out, material.identity.stream, material.hook, *parts, text_hash(material.training))


def harvest_and_train(
    training: SaeTraining, engine: Engine, material: Material, partial: Path, progress: Progress
) -> TrainedSaes:
    """Harvests the training documents and trains one SAE per recipe on them.

    Args:
        training: What is trained, and how.
        engine: Reads at the material's hook point.
        material: The documents.
        partial: Folder for unfinished work; an earlier run's is resumed.
        progress: Receives progress reports.

    Raises:
        BudgetExceeded: The budget ran out; finished work is kept in ``partial``.
        CorruptArtifact: A parent's or the checkpoint's files are damaged.
    """
    until = time.monotonic() + (training.budget.seconds or float("inf"))
    shuffled = random.Random(training.recipes[0].seed).sample(material.training, len(material.training))
    d_model, special = material.identity.d_model, special_ids(engine.tokenizer)
    with progress.phase("measuring what it will cost"):
        job = job_of(training, d_model, shuffled, special)
        rates = measure(engine, shuffled, job, trial(training.recipes, d_model, training.config))
    job = negotiate_cost(job, training.budget, rates, partial, progress)
    read = material._replace(training=list(take_until(shuffled, job.wanted, special)))
    reading = HarvestSource(engine, read.training, special, read.identity, [read.hook], training.harvest)
    chunks = chunks_of(job, reading, training.shards or partial / "harvest", until, progress)
    saes = train_on(training, job, chunks, partial / "checkpoint.safetensors", until, progress)
    return TrainedSaes(read, saes, partial)


def job_of(training: SaeTraining, d_model: int, documents: Sequence[Document], special: Collection[int]) -> Job:
    return training.job(
        documents,
        special,
        points=1,
        d_model=d_model,
        weights=sum(recipe.weights(d_model) for recipe in training.recipes),
        latents=max(recipe.d_sae for recipe in training.recipes),
        shards=training.shards is not None,
    )


def train_on(
    training: SaeTraining, job: Job, chunks: Chunks, checkpoint: Path, until: float, progress: Progress
) -> list[TrainedSae]:
    parents = parents_of(training.parents)
    with training_bar(job, progress) as show:
        return train(stream_of(chunks, job), job.width, training.recipes, job.train, checkpoint, show, until, parents)


def parents_of(folders: Sequence[Path]) -> dict[str, Dictionary]:
    """The parents' dictionaries by artifact id. Raises CorruptArtifact."""
    artifacts = [open_artifact(folder) for folder in folders]
    for artifact in artifacts:
        verify(artifact)
    return {artifact.manifest.id: Dictionary.load(artifact.weights) for artifact in artifacts}


def seal_trained(
    config: BaselineConfig,
    engine: Engine,
    material: Material,
    made: TrainedSae,
    folder: Path,
    progress: Progress,
    *,
    name: str,
    judge: str = "",
) -> EvaluatedSae:
    """Evaluates an SAE on held-out documents and seals it with its canaries and training report.

    Args:
        config: How the SAE is evaluated.
        engine: Reads at the hook point and answers.
        material: Where the held-out documents come from.
        made: The trained SAE.
        folder: Already holds the SAE's weights; becomes the artifact.
        progress: Receives progress reports.
        name: Name of the artifact.
        judge: Name of the judge that will judge its labels; "" if that is not known yet.

    Returns:
        The SAE with its activations on the held-out documents.
    """
    sae = evaluated(engine, made.dictionary, material.held_out[: config.documents], progress)
    metrics = keep_baseline(config, engine, sae, folder, progress)
    write_report(folder / REPORT, name, made.history, sae.activations.density)
    own = {
        "architecture": made.recipe.architecture,
        "d_sae": made.recipe.d_sae,
        "k": made.recipe.k,
        "dataset": dataset_of(material.text, material.training),
        "training": made.recipe.model_dump(mode="json", exclude={"parent"}) | made.config.model_dump(),
        "parent": made.recipe.parent,
        "judge": judge,
    }
    seal(folder, manifest_fields(name, material.identity, material.hook, metrics, own))
    return sae
