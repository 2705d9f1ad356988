"""Harvest and training, as `featurehub build` and `featurehub train` do them.

1. Rates are measured, and what the job will cost is said.
2. A budget decides how many tokens it is trained on. The decision is kept: a run that goes on keeps to it.
3. Harvest, then training, each going on from what an earlier run left in the partial folder.
"""

import hashlib
import random
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from featurehub.artifacts.artifact import seal
from featurehub.artifacts.files import write_text
from featurehub.artifacts.manifest import HookPoint
from featurehub.cli.finish import Trained, keep_baseline, manifest_fields, observed
from featurehub.cli.material import Material, enough
from featurehub.cli.progress import console, duration, phase, work
from featurehub.engine.config import EngineConfig
from featurehub.engine.offline import Engine, EngineOptions
from featurehub.errors import BudgetExceeded
from featurehub.settings import Frozen
from saes.budget import Budget
from saes.canaries import CanaryConfig
from saes.cost import Job, Rates, measure
from saes.documents import Document, count_tokens, special_ids
from saes.drift.check import CheckConfig
from saes.harvest import Harvest, HarvestConfig, harvest_documents, token_bytes
from saes.recipes import Recipe
from saes.report import write_report
from saes.run import TrainConfig
from saes.stream import Stream, StreamConfig
from saes.train import TrainedSae, train
from saes.trainee import Progress

__all__ = ["TrainPlan", "answering", "hardware", "harvest_and_train", "harvesting", "partial_folder", "seal_trained"]

REPORT = "training.html"


class TrainPlan(Frozen):
    """Everything a training run depends on but the text.

    layer, max_tokens: as in a ``HarvestPlan``
    held_out: share of the documents that training never sees, in (0, 1)
    observed: held-out documents that labels and statistics are made from, at most
    shards:   folder of the harvest; None for one that goes when the run is done
    """

    model: Path
    out: Path
    layer: int | None = None
    max_tokens: int | None = None
    held_out: float = 0.25
    observed: int = 3000
    recipes: tuple[Recipe, ...] = (Recipe(),)
    train: TrainConfig = TrainConfig()
    harvest: HarvestConfig = HarvestConfig()
    buffer_tokens: int = 65_536
    shards: Path | None = None
    budget: Budget = Budget()
    canaries: CanaryConfig = CanaryConfig()
    check: CheckConfig = CheckConfig()
    engine: EngineOptions = EngineOptions()


def hardware() -> dict[str, Any]:
    """Where SAEs are trained: on the GPU in mixed precision, where there is one."""
    return {"device": "cuda", "autocast": True} if torch.cuda.is_available() else {}


def partial_folder(plan: TrainPlan, material: Material) -> Path:
    """Beside what the run makes; another text, model or configuration has another name, another budget has not."""
    parts = [
        material.identity.reads,
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


def harvest_and_train(plan: TrainPlan, engine: Engine, material: Material, partial: Path) -> list[TrainedSae]:
    """One SAE per recipe. Raises BudgetExceeded; what is done is kept in ``partial``."""
    until = time.monotonic() + (plan.budget.seconds or float("inf"))
    shuffled = random.Random(plan.recipes[0].seed).sample(material.training, len(material.training))
    with phase("measuring what it will cost"):
        job = job_of(plan, material.identity.d_model, shuffled)
        rates = measure(engine, shuffled, job)
    job = decided(job, plan.budget, rates, partial)
    say(job, rates)
    read = material._replace(training=list(enough(shuffled, job.wanted)))
    harvest = harvest_until(plan, engine, read, plan.shards or partial / "harvest", until)
    return train_on(job, harvest, partial / "checkpoint.safetensors", until)


def job_of(plan: TrainPlan, d_model: int, documents: Sequence[Document]) -> Job:
    return Job(
        recipes=plan.recipes,
        train=plan.train,
        buffer_tokens=plan.buffer_tokens,
        d_model=d_model,
        text_tokens=count_tokens(documents),
        token_bytes=token_bytes(d_model, plan.harvest),
    )


def decided(job: Job, budget: Budget, rates: Rates, partial: Path) -> Job:
    """The job within the budget, as it was decided when the run was first started."""
    path = partial / "tokens"
    if path.is_file():
        return job.of_tokens(int(path.read_text()))
    job = job.within(budget, rates)
    write_text(path, str(job.train.tokens))
    return job


def say(job: Job, rates: Rates) -> None:
    seconds, disk, memory = job.estimate(rates)
    console.print(
        f"  {job.wanted:,} tokens to read and {job.train.tokens:,} to train on: about {duration(seconds)}, "
        f"{disk / 1e6:,.0f} MB of disk, {memory / 1e6:,.0f} MB of memory besides the engine's"
    )


def harvest_until(plan: TrainPlan, engine: Engine, read: Material, folder: Path, until: float) -> Harvest:
    with work("harvesting", count_tokens(read.training), "tokens") as bar:

        def progress(tokens: int, harvest: Harvest) -> None:
            bar(tokens)
            if time.monotonic() > until and harvest.missing:
                raise BudgetExceeded(
                    f"the time is over with {len(harvest.missing)} of {len(harvest)} shards to harvest; "
                    "the others are kept: start it again with more time, and it goes on from there",
                    param="budget",
                )

        special, documents = special_ids(engine.tokenizer), read.training
        return harvest_documents(engine, documents, special, folder, read.identity, [read.hook], plan.harvest, progress)


def train_on(job: Job, harvest: Harvest, checkpoint: Path, until: float) -> list[TrainedSae]:
    config = StreamConfig(buffer_tokens=job.buffer_tokens, batch_tokens=job.train.batch_tokens)
    with work("training", job.train.steps * job.train.batch_tokens, "tokens") as bar:

        def show(progress: Progress) -> None:
            bar.at(progress.step * job.train.batch_tokens)
            bar.say(f"EV {progress.explained_variance:.3f}  L0 {progress.l0:.1f}  dead {progress.dead:.1%}")

        stream, d_model = Stream(harvest, config), harvest.record.d_model
        return train(stream, d_model, job.recipes, job.train, checkpoint, show, until)


def seal_trained(
    plan: TrainPlan, engine: Engine, material: Material, made: TrainedSae, folder: Path, name: str
) -> Trained:
    """Evaluates an SAE on the held-out documents, and seals it in ``folder`` with its canaries and its report."""
    trained = observed(plan, engine, made.dictionary, material.held_out)
    metrics = keep_baseline(plan, engine, trained, folder)
    write_report(folder / REPORT, name, made.history, trained.observed.density)
    own = {
        "architecture": made.recipe.architecture,
        "d_sae": made.recipe.d_sae,
        "k": made.recipe.k,
        "dataset": {"documents": len(material.training), "tokens": count_tokens(material.training)},
        "training": made.recipe.model_dump(mode="json") | made.config.model_dump(),
    }
    seal(folder, manifest_fields(name, material.identity, material.hook, metrics, own))
    return trained
