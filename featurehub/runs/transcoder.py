"""`featurehub transcoder train`: trains a transcoder that stands in for the MLPs of one or more layers.

1. measure and report what training will cost; a budget decides how many tokens to train on
2. harvest the held-out documents: the stream before each MLP and what the MLP adds, in one pass
3. harvest the training documents likewise, or read them as training asks for them; train the transcoder
4. measure it on the held-out documents and write it, with its metrics

Harvests and the run's state lie beside the transcoder until it is written; a run that is started again resumes.
"""

import random
import shutil
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple, Self

from pydantic import Field, ValidationError

from featurehub.artifacts.manifest import HookPoint, ModelIdentity
from featurehub.engine.offline import Engine, EngineOptions
from featurehub.errors import InvalidInput
from featurehub.runs.chunks import HarvestSource, chunks_of, harvested
from featurehub.runs.costs import Training, negotiate_cost, stream_of, training_bar
from featurehub.runs.deadline import Deadline
from featurehub.runs.engines import Engines
from featurehub.runs.harvest import identify_hooks, read_documents
from featurehub.runs.material import MaterialConfig, dataset_of, split, take_until
from featurehub.runs.partial import partial_folder
from featurehub.runs.progress import SILENT, Progress
from featurehub.settings import Frozen, reason
from featurehub.token_ids import Message, special_ids
from saes.budget import Budget
from saes.cost import Job, measure
from saes.documents import Document, text_hash
from saes.harvest import Harvest
from saes.run import TrainConfig
from saes.stream import Chunks
from saes.transcoders.folder import TranscoderManifest, write_transcoder
from saes.transcoders.pairs import READ, WRITTEN, pairs
from saes.transcoders.quality import TranscoderQuality, evaluate_transcoder
from saes.transcoders.trainable import TranscoderRecipe
from saes.transcoders.training import train_transcoder, trial
from saes.transcoders.transcoder import Transcoder

__all__ = ["TranscoderPlan", "TranscoderTraining", "train_and_write"]


class TranscoderTraining(Training):
    """How a transcoder is trained.

    Attributes:
        recipe: Its width, sparsity, learning rate and seed.
        buffer_tokens: Size of the shuffle buffer, in tokens; bounds the memory.
    """

    recipe: TranscoderRecipe = TranscoderRecipe()
    buffer_tokens: int = Field(default=32_768, ge=1)


class TranscoderPlan(Frozen):
    """Everything that a transcoder's training depends on except the text.

    Attributes:
        model: Folder of the model.
        out: Folder of the transcoder.
        layers: Layers whose MLPs are replaced; if empty, the layer at about 70 % of the depth.
        material: How the text is cut and split.
        evaluated: Most held-out documents that the transcoder is measured on.
        training: What is trained, and how.
        engine: Options of the engine that reads the model.
    """

    model: Path
    out: Path
    layers: tuple[int, ...] = ()
    material: MaterialConfig = MaterialConfig(held_out=0.1)
    evaluated: int = Field(default=500, ge=1)
    training: TranscoderTraining = TranscoderTraining()
    engine: EngineOptions = EngineOptions()

    @classmethod
    def of(
        cls, d_sae: int, k: float, tokens: int, budget: Budget, text: str, max_tokens: int | None, **fields: Any
    ) -> Self:
        """A plan from what the command's options say.

        Args:
            d_sae: Latents of each layer.
            k: Mean number of active latents per token and layer.
            tokens: Tokens to train on, repeats counted.
            budget: The most time or tokens to spend.
            text: What the text is called.
            max_tokens: Longest document, in tokens; None for 256, or fewer if the model reads fewer at once.
            **fields: Other fields of the plan.

        Raises:
            InvalidInput: A value is out of range.
        """
        try:
            recipe, config = TranscoderRecipe(d_sae=d_sae, k=k), TrainConfig.here(tokens=tokens)
            training = TranscoderTraining(recipe=recipe, config=config, budget=budget)
            material = MaterialConfig(text=text, max_tokens=max_tokens, held_out=0.1)
            return cls(training=training, material=material, **fields)
        except ValidationError as error:
            raise InvalidInput(reason(error)) from None


class TranscoderTexts(NamedTuple):
    """The tokenized text.

    Attributes:
        documents: Documents to train on, in training order.
        held_out: Documents that training never sees.
        special: Ids of tokens that are not text.
    """

    documents: Sequence[Document]
    held_out: Sequence[Document]
    special: frozenset[int]


def train_and_write(
    plan: TranscoderPlan, entries: Sequence[str | list[Message]], progress: Progress = SILENT
) -> TranscoderManifest:
    """Trains a transcoder, measures it, and writes it to ``plan.out``.

    Args:
        plan: What to train, and where.
        entries: The texts or chats to train and measure on.
        progress: Receives progress reports.

    Returns:
        The manifest of the transcoder that was written.

    Raises:
        ModelNotFound: The model's folder is not there.
        UnsupportedModel: The engine cannot read this model.
        InvalidInput: The plan does not suit the model, or there is too little text.
        BudgetExceeded: The budget is too small for any training, or the disk for the harvest.
        CorruptArtifact: The checkpoint of an earlier run is damaged.
    """
    training = plan.training
    until = Deadline.of(training.budget).until
    training.recipe.check()
    with progress.phase("identifying the model"):
        identity, points = identify_hooks(plan.model, plan.layers, (READ, WRITTEN))
    with Engines(plan.model, plan.engine, progress).reading(*points) as engine:
        texts = texts_of(plan.material, plan.evaluated, training.recipe.seed, engine, entries, progress)
        partial = folder_of(plan.out, training, identity, points, texts)
        job = agreed_job(training, engine, identity, texts, points, partial, progress)
        documents = list(take_until(texts.documents, job.wanted, texts.special))
        reading = HarvestSource(engine, documents, texts.special, identity, points, training.harvest)
        others = reading._replace(documents=texts.held_out)
        held_out = harvested(others, partial / "held-out", "harvesting held-out documents", progress)
        read_until = time.monotonic() + (until - time.monotonic()) / 2
        chunks = chunks_of(job, reading, partial / "training", read_until, partial / "shards", progress)
        checkpoint = partial / "checkpoint.safetensors"
        transcoder, job = train_on(training.recipe, job, chunks, len(points) // 2, checkpoint, until, progress)
    with progress.phase("measuring it on held-out documents"):
        metrics = measured(transcoder, held_out)
    written = write_transcoder(plan.out, transcoder, manifest_of(plan, reading, job, metrics))
    shutil.rmtree(partial)
    return written


def texts_of(
    config: MaterialConfig,
    evaluated: int,
    seed: int,
    engine: Engine,
    entries: Sequence[str | list[Message]],
    progress: Progress,
) -> TranscoderTexts:
    training, held_out = split(read_documents(engine, entries, config.max_tokens, progress), config.held_out)
    shuffled = random.Random(seed).sample(training, len(training))
    return TranscoderTexts(shuffled, held_out[:evaluated], special_ids(engine.tokenizer))


def folder_of(
    out: Path,
    training: TranscoderTraining,
    identity: ModelIdentity,
    points: Sequence[HookPoint],
    texts: TranscoderTexts,
) -> Path:
    unbounded = training.model_copy(update={"budget": Budget()})
    hashes = (text_hash(texts.documents), text_hash(texts.held_out))
    return partial_folder(out, identity.stream, points, unbounded, *hashes)


def agreed_job(
    training: TranscoderTraining,
    engine: Engine,
    identity: ModelIdentity,
    texts: TranscoderTexts,
    points: Sequence[HookPoint],
    partial: Path,
    progress: Progress,
) -> Job:
    """Raises BudgetExceeded."""
    layers, d_model = len(points) // 2, identity.d_model
    job = training.job(
        texts.documents,
        texts.special,
        points=len(points),
        d_model=d_model,
        weights=training.recipe.weights(layers, d_model),
        latents=layers * training.recipe.d_sae,
    )
    with progress.phase("measuring what it will cost"):
        step = trial(layers, d_model, training.recipe, training.config)
        rates = measure(engine, texts.documents, job, step, points)
    return negotiate_cost(job, training.budget, rates, partial, progress)


def train_on(
    recipe: TranscoderRecipe,
    job: Job,
    chunks: Chunks,
    layers: int,
    checkpoint: Path,
    until: float,
    progress: Progress,
) -> tuple[Transcoder, Job]:
    """The transcoder, and the job with the tokens that it was trained on."""
    d_model, stream = job.width // (2 * layers), stream_of(chunks, job)
    with training_bar(job, chunks, progress) as bar:
        made = train_transcoder(stream, layers, d_model, recipe, job.train, checkpoint, bar, until, bar.plan)
    return made, bar.job


def measured(transcoder: Transcoder, harvest: Harvest) -> TranscoderQuality:
    columns = (harvest.load(shard).x for shard in range(len(harvest)))
    return evaluate_transcoder(transcoder, (pairs(each, transcoder.layers) for each in columns))


def manifest_of(
    plan: TranscoderPlan, reading: HarvestSource, job: Job, metrics: TranscoderQuality
) -> TranscoderManifest:
    recipe = plan.training.recipe
    return TranscoderManifest(
        name=plan.out.name,
        reads=tuple(point for point in reading.points if point.site is READ),
        writes=tuple(point for point in reading.points if point.site is WRITTEN),
        d_model=reading.model.d_model,
        d_sae=recipe.d_sae,
        k=recipe.k,
        model=reading.model,
        dataset=dataset_of(plan.material.text, reading.documents),
        training=recipe.model_dump() | job.train.model_dump(),
        metrics=metrics,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
    )
