"""Harvest and training, as `featurehub build` and `featurehub train` do them.

1. Measure how fast the whole model reads and answers, then how fast training goes; report what all phases will take.
2. A budget decides how many tokens to train on: of a time, what the phases after training leave.
3. Harvest the text, or read it as training asks for it (``featurehub.runs.chunks``).
4. Train, resuming from whatever an earlier run left in the partial folder. If the time runs short all the same,
   training ends earlier (``saes.run``).
5. Evaluate on held-out documents with the same engine: it has only the layers that are needed, and reads about as much
   faster as it has fewer.
"""

import random
import time
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import NamedTuple

from pydantic import Field

from featurehub.artifacts.artifact import open_artifact, verify
from featurehub.artifacts.files import write_text
from featurehub.artifacts.fingerprint import width_at
from featurehub.artifacts.manifest import Site
from featurehub.dictionary import Dictionary
from featurehub.engine.offline import Engine, EngineOptions
from featurehub.errors import BudgetExceeded
from featurehub.runs.baseline import BaselineConfig, EvaluatedSae, evaluated
from featurehub.runs.chunks import HarvestSource, chunks_of
from featurehub.runs.costs import Training, stream_of, training_bar, within_budget
from featurehub.runs.deadline import UNBOUNDED, Deadline
from featurehub.runs.engines import Engines
from featurehub.runs.harvest import identify_hook
from featurehub.runs.material import Material, MaterialConfig, material_of, take_until
from featurehub.runs.partial import partial_folder
from featurehub.runs.phases import Forecast, Phase, PhasePlan, duration, forecast_of, say_phases
from featurehub.runs.progress import Progress
from featurehub.runs.speeds import Speeds, measure_speeds, reading_speed, untrained
from featurehub.settings import Frozen
from featurehub.token_ids import Message, special_ids
from labeling.calibration import CalibrationConfig
from saes.budget import Budget
from saes.cost import Job, Rates, measure
from saes.documents import Document, text_hash
from saes.recipes import Recipe
from saes.stream import Chunks
from saes.train import TrainedSae, train, trial

__all__ = ["FollowUp", "SaeTraining", "TrainPlan", "TrainedSaes", "harvest_and_train", "job_of", "train_saes"]

FORECAST, CHECKPOINT = "forecast.json", "checkpoint.safetensors"


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
        ahead: What comes after training.
        seconds: How long reading and training should have taken, by estimate.
        job, rates: What was read and trained, and the speeds that were measured.
        seen: Each SAE with its activations on held-out documents, where it was evaluated.
    """

    material: Material
    saes: list[TrainedSae]
    partial: Path
    ahead: PhasePlan
    seconds: float
    job: Job
    rates: Rates
    seen: Sequence[EvaluatedSae] = ()


class FollowUp(NamedTuple):
    """What a run does with its SAEs once they are trained and evaluated.

    Attributes:
        deadline: When the whole run should be done.
        calibration: How strengths are calibrated; None for SAEs that are neither labelled nor calibrated.
        patient: Whether calibration runs through all its rounds if there is no budget of time.
    """

    deadline: Deadline = UNBOUNDED
    calibration: CalibrationConfig | None = None
    patient: bool = False


def train_saes(
    plan: TrainPlan, entries: Sequence[str | list[Message]], follow_up: FollowUp, progress: Progress
) -> tuple[TrainedSaes, BaselineConfig]:
    """Measures what everything will take, and trains with an engine of the layers up to the hook point.

    Args:
        plan: What to train, and where.
        entries: The texts or chats.
        follow_up: What the run does after training, for which it needs time.
        progress: Receives progress reports.

    Returns:
        The SAEs, and how they are to be evaluated: with fewer documents than planned, where a budget of time is short.

    Raises:
        ModelNotFound: The model's folder is not there or cannot be read.
        UnsupportedModel: The engine cannot read this model.
        InvalidInput: The plan does not suit the model, or there is too little text.
        BudgetExceeded: The budget is too small for any training.
        CorruptArtifact: A parent's or the checkpoint's files are damaged.
    """
    with progress.phase("identifying the model"):
        identity, hook = identify_hook(plan.model, plan.layer, plan.site)
    engines, training = Engines(plan.model, plan.engine, progress), plan.training
    dictionary = untrained(max(recipe.d_sae for recipe in training.recipes), width_at(plan.model, hook))
    began = time.monotonic()
    with engines.trying(dictionary, hook, plan.out) as engine:
        start = time.monotonic() - began
        material = material_of(plan.material, engine, identity, hook, entries, progress)
        partial = folder_of(plan.out, training, material)
        kept = Forecast.kept(partial / FORECAST)
        speeds = kept.speeds if kept else measure_speeds(engine, dictionary, material.held_out, start, progress)
    with engines.reading(hook) as engine:
        forecast = kept or forecast_of_plan(plan, engine, dictionary, material, speeds, follow_up)
        ahead = ahead_of(forecast, material, training, dictionary.d_sae, follow_up)
        trained = harvest_and_train(training, engine, material, partial, progress, ahead)
        held_out = material.held_out[: forecast.baseline.documents]
        seen = [evaluated(engine, made.dictionary, held_out, progress, made.config.span) for made in trained.saes]
    return trained._replace(seen=seen), forecast.baseline


def forecast_of_plan(
    plan: TrainPlan,
    engine: Engine,
    dictionary: Dictionary,
    material: Material,
    speeds: Speeds,
    follow_up: FollowUp,
) -> Forecast:
    """What is known of the phases after training; the engine is the one that the SAEs will be evaluated with."""
    held_out, saes = material.held_out, len(plan.training.recipes)
    evaluate = reading_speed(engine, dictionary, held_out)
    labelled = dictionary.d_sae if follow_up.calibration else 0
    return forecast_of(speeds, evaluate, plan.baseline, held_out, saes, labelled, follow_up.deadline.seconds)


def ahead_of(
    forecast: Forecast, material: Material, training: SaeTraining, d_sae: int, follow_up: FollowUp
) -> PhasePlan:
    deadline, calibration, patient = follow_up
    phases = forecast.phases(material.held_out, len(training.recipes), d_sae if calibration else 0)
    return PhasePlan(phases, deadline, calibration, d_sae, forecast.speeds.steered, patient, forecast)


def folder_of(out: Path, training: SaeTraining, material: Material) -> Path:
    parts = (training.recipes, training.config, training.harvest, training.buffer_tokens)
    return partial_folder(out, material.identity.stream, material.hook, *parts, text_hash(material.training))


def harvest_and_train(
    training: SaeTraining,
    engine: Engine,
    material: Material,
    partial: Path,
    progress: Progress,
    ahead: PhasePlan | None = None,
) -> TrainedSaes:
    """Harvests the training documents and trains one SAE per recipe on them.

    Args:
        training: What is trained, and how.
        engine: Reads at the material's hook point.
        material: The documents.
        partial: Folder for unfinished work; an earlier run's is resumed.
        progress: Receives progress reports.
        ahead: What comes after training, and when the whole run should be done; None for nothing.

    Raises:
        BudgetExceeded: The budget is too small for any training, or the disk for the harvest.
        CorruptArtifact: A parent's or the checkpoint's files are damaged.
    """
    ahead = ahead or PhasePlan([], Deadline.of(training.budget))
    shuffled = random.Random(training.recipes[0].seed).sample(material.training, len(material.training))
    d_model, special = width_at(engine.model, material.hook), special_ids(engine.tokenizer)
    with progress.phase("measuring what it will cost"):
        job = job_of(training, d_model, shuffled, special)
        rates = measure(engine, shuffled, job, trial(training.recipes, d_model, training.config))
    job, until = agreed(job, training.budget, rates, ahead, partial / "tokens", progress)
    if (partial / CHECKPOINT).is_file():
        progress.say("an earlier start has trained part of that: training goes on from there")
    if ahead.forecast is not None:
        write_text(partial / FORECAST, ahead.forecast.model_dump_json())
    read = material._replace(training=list(take_until(shuffled, job.wanted, special)))
    reading = HarvestSource(engine, read.training, special, read.identity, [read.hook], training.harvest, [d_model])
    estimate = job.estimate(rates)
    read_until = time.monotonic() + (until - time.monotonic()) * job.wanted / rates.read / estimate.seconds
    chunks = chunks_of(job, reading, training.shards or partial / "harvest", read_until, partial / "shards", progress)
    saes = train_on(training, job, chunks, partial / CHECKPOINT, until, progress)
    return TrainedSaes(read, saes, partial, ahead, estimate.seconds, job, rates)


def agreed(
    job: Job, budget: Budget, rates: Rates, ahead: PhasePlan, kept: Path, progress: Progress
) -> tuple[Job, float]:
    """The job that there is time and budget for, and when it should be done. Reports what everything will take."""
    whole = job.estimate(rates).seconds
    reserved = sum(phase.seconds for phase in ahead.after(whole)) if ahead.deadline.is_bound else 0.0
    until = ahead.deadline.until - reserved
    own = Budget(seconds=max(1.0, until - time.monotonic()), tokens=budget.tokens) if budget.seconds else budget
    try:
        job = within_budget(job, own, rates, kept)
    except BudgetExceeded as error:
        others = f" ({speeds_of(rates, ahead)}), and the phases after training {duration(reserved)}" if reserved else ""
        raise BudgetExceeded(f"{error.message}{others}", param="budget") from None
    estimate = job.estimate(rates)
    read = Phase("read and train", job.train.tokens, job.train.unit, estimate.seconds)
    say_phases([read, *ahead.after(estimate.seconds)], ahead.deadline.seconds, progress)
    progress.say(f"by the speeds of this machine: {speeds_of(rates, ahead)}")
    progress.say(
        f"{job.wanted:,} tokens are read; {estimate.disk / 1e6:,.0f} MB of disk, "
        f"{estimate.memory / 1e6:,.0f} MB of memory besides the engine's"
    )
    return job, until


def speeds_of(rates: Rates, ahead: PhasePlan) -> str:
    """The measured speeds in words."""
    spoken = f"reads {rates.read:,.0f} and trains on {rates.train:,.0f} tokens/s"
    if ahead.forecast is None:
        return spoken
    whole = ahead.forecast.speeds
    return (
        f"{spoken}; the whole model reads {whole.read:,.0f}, answers {whole.answer:,.0f}, steered {whole.steered:,.0f}"
    )


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
    stream, recipes, parents = stream_of(chunks, job), training.recipes, parents_of(training.parents)
    with training_bar(job, chunks, progress) as bar:
        return train(stream, job.width, recipes, job.train, checkpoint, bar, until, parents, bar.plan)


def parents_of(folders: Sequence[Path]) -> dict[str, Dictionary]:
    """The parents' dictionaries by artifact id. Raises CorruptArtifact."""
    artifacts = [open_artifact(folder) for folder in folders]
    for artifact in artifacts:
        verify(artifact)
    return {artifact.manifest.id: Dictionary.load(artifact.weights) for artifact in artifacts}
