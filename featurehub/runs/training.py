"""Harvest and training, as `featurehub build` and `featurehub train` do them.

1. Rates are measured, and what the job will cost is said; a budget decides how many tokens it is trained on.
2. The text is harvested, or read while training asks for it (``featurehub.runs.chunks``).
3. Training goes on from what an earlier run left in the partial folder.
"""

import hashlib
import random
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from featurehub.artifacts.artifact import open_artifact, seal, verify
from featurehub.artifacts.manifest import HookPoint, Site
from featurehub.cli.progress import phase
from featurehub.dictionary import Dictionary
from featurehub.engine.config import EngineConfig
from featurehub.engine.offline import Engine, EngineOptions
from featurehub.runs.baseline import Trained, keep_baseline, manifest_fields, observed
from featurehub.runs.chunks import Reading, chunks_of
from featurehub.runs.costs import agreed, training_bar
from featurehub.runs.material import Material, dataset_of, enough
from featurehub.settings import Frozen
from saes.budget import Budget
from saes.canaries import CanaryConfig
from saes.cost import Job, measure
from saes.documents import Document, count_tokens, special_ids
from saes.drift.check import CheckConfig
from saes.harvest import HarvestConfig, token_bytes
from saes.recipes import Recipe
from saes.report import write_report
from saes.run import TrainConfig
from saes.stream import Chunks, Stream, StreamConfig
from saes.train import TrainedSae, train, trial
from saes.trainee import Progress

__all__ = ["TrainPlan", "answering", "harvest_and_train", "harvesting", "partial_folder", "seal_trained"]

REPORT = "training.html"


class TrainPlan(Frozen):
    """Everything a training run depends on but the text.

    layer, site, max_tokens: as in a ``HarvestPlan``
    held_out: share of the documents that training never sees, in (0, 1)
    observed: held-out documents that labels and statistics are made from, at most
    text:     what the text is called
    parents:  folders of the SAEs that recipes begin with
    shards:   folder that keeps the harvest; None for none, or for one that goes when the run is done
    """

    model: Path
    out: Path
    layer: int | None = None
    site: Site = Site.RESID_POST
    max_tokens: int | None = None
    held_out: float = 0.25
    observed: int = 3000
    recipes: tuple[Recipe, ...] = (Recipe(),)
    train: TrainConfig = TrainConfig()
    harvest: HarvestConfig = HarvestConfig()
    buffer_tokens: int = 65_536
    text: str = ""
    parents: tuple[Path, ...] = ()
    shards: Path | None = None
    budget: Budget = Budget()
    canaries: CanaryConfig = CanaryConfig()
    check: CheckConfig = CheckConfig()
    engine: EngineOptions = EngineOptions()


def partial_folder(plan: TrainPlan, material: Material) -> Path:
    """Beside what the run makes; another text, model or configuration has another name, another budget has not."""
    parts = [
        material.identity.stream,
        material.hook,
        plan.recipes,
        plan.train,
        plan.harvest,
        plan.buffer_tokens,
        material.training,
    ]
    digest = hashlib.sha256(repr(parts).encode()).hexdigest()
    return plan.out.with_name(f"{plan.out.name}.partial-{digest[:12]}")


@contextmanager
def harvesting(plan: TrainPlan, hook: HookPoint) -> Iterator[Engine]:
    """An engine of the layers up to the hook point: it reads faster than the whole model."""
    with phase("starting the engine"):
        engine = Engine(plan.model, EngineConfig.capturing(hook, truncated=True), plan.engine)
    with engine:
        yield engine


@contextmanager
def answering(plan: TrainPlan, hook: HookPoint) -> Iterator[Engine]:
    """An engine of the whole model, which reads at the hook point too."""
    with phase("starting the engine with all layers"):
        engine = Engine(plan.model, EngineConfig.capturing(hook), plan.engine)
    with engine:
        yield engine


def harvest_and_train(
    plan: TrainPlan, engine: Engine, material: Material, partial: Path
) -> tuple[Material, list[TrainedSae]]:
    """What was read of the material, and one SAE per recipe.

    Raises BudgetExceeded; what is done is kept in ``partial``.
    """
    until = time.monotonic() + (plan.budget.seconds or float("inf"))
    shuffled = random.Random(plan.recipes[0].seed).sample(material.training, len(material.training))
    d_model, special = material.identity.d_model, special_ids(engine.tokenizer)
    with phase("measuring what it will cost"):
        job = job_of(plan, d_model, shuffled, special)
        rates = measure(engine, shuffled, job, trial(plan.recipes, d_model, plan.train))
    job = agreed(job, plan.budget, rates, partial)
    read = material._replace(training=list(enough(shuffled, job.wanted, special)))
    reading = Reading(engine, read.training, special, read.identity, [read.hook], plan.harvest)
    chunks = chunks_of(job, reading, plan.shards or partial / "harvest", until)
    return read, train_on(plan, job, chunks, partial / "checkpoint.safetensors", until)


def job_of(plan: TrainPlan, d_model: int, documents: Sequence[Document], special: Collection[int]) -> Job:
    tokens = count_tokens(documents, special)
    return Job(
        train=plan.train,
        buffer_tokens=plan.buffer_tokens,
        weights=sum(recipe.weights(d_model) for recipe in plan.recipes),
        latents=max(recipe.d_sae for recipe in plan.recipes),
        width=d_model,
        text_tokens=tokens,
        chunk_tokens=plan.harvest.tokens_at(1, len(documents), tokens),
        token_bytes=token_bytes(d_model, plan.harvest),
        shards=plan.shards is not None,
    )


def train_on(plan: TrainPlan, job: Job, chunks: Chunks, checkpoint: Path, until: float) -> list[TrainedSae]:
    stream = Stream(chunks, StreamConfig(buffer_tokens=job.buffer_tokens, batch_tokens=job.train.batch_tokens))
    with training_bar(job) as bar:

        def show(progress: Progress) -> None:
            bar.at(progress.step * job.train.batch_tokens)
            bar.say(f"EV {progress.explained_variance:.3f}  L0 {progress.l0:.1f}  dead {progress.dead:.1%}")

        return train(stream, job.width, plan.recipes, job.train, checkpoint, show, until, parents_of(plan))


def parents_of(plan: TrainPlan) -> dict[str, Dictionary]:
    """By id. Raises CorruptArtifact."""
    artifacts = [open_artifact(folder) for folder in plan.parents]
    for artifact in artifacts:
        verify(artifact)
    return {artifact.manifest.id: Dictionary.load(artifact.weights) for artifact in artifacts}


def seal_trained(
    plan: TrainPlan, engine: Engine, material: Material, made: TrainedSae, folder: Path, name: str, judge: str = ""
) -> Trained:
    """Evaluates an SAE on the held-out documents, and seals it in ``folder`` with its canaries and its report.

    ``judge`` is the name of the one that will judge its labels, where that is known.
    """
    trained = observed(plan, engine, made.dictionary, material.held_out)
    metrics = keep_baseline(plan, engine, trained, folder)
    write_report(folder / REPORT, name, made.history, trained.observed.density)
    own = {
        "architecture": made.recipe.architecture,
        "d_sae": made.recipe.d_sae,
        "k": made.recipe.k,
        "dataset": dataset_of(plan.text, material.training),
        "training": made.recipe.model_dump(mode="json", exclude={"parent"}) | made.config.model_dump(),
        "parent": made.recipe.parent,
        "judge": judge,
    }
    seal(folder, manifest_fields(name, material.identity, material.hook, metrics, own))
    return trained
