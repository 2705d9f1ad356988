"""`featurehub transcoder train`: the MLPs of one layer or several become a transcoder, trained through the engine.

1. held-out documents are harvested: the stream before each MLP and what it adds, in one pass
2. what it will cost is measured and said; a budget decides how many tokens it is trained on
3. the documents to train on are harvested alike, or read while training asks for them; the transcoder is trained
4. it is measured on the held-out documents and written, with its figures

Harvests and the run's state lie beside the transcoder until it is written; a run that is started again goes on.
"""

import hashlib
import random
import shutil
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple, Self

from pydantic import Field, ValidationError
from rich.table import Table

from featurehub.artifacts.manifest import HookPoint, ModelIdentity
from featurehub.cli.progress import phase
from featurehub.engine.config import EngineConfig
from featurehub.engine.offline import Engine, EngineOptions
from featurehub.errors import InvalidInput
from featurehub.features import reason
from featurehub.runs.chunks import Reading, chunks_of, harvested
from featurehub.runs.costs import agreed, training_bar
from featurehub.runs.harvest import identify_hooks, read_documents
from featurehub.runs.material import dataset_of, enough, split
from featurehub.settings import Frozen
from saes.budget import Budget
from saes.cost import Job, measure
from saes.documents import Document, count_tokens, special_ids
from saes.harvest import Harvest, HarvestConfig, token_bytes
from saes.run import TrainConfig
from saes.stream import Chunks, Stream, StreamConfig
from saes.texts import Message
from saes.transcoders.folder import TranscoderManifest, write_transcoder
from saes.transcoders.pairs import READ, WRITTEN, pairs
from saes.transcoders.quality import TranscoderQuality, evaluate_transcoder
from saes.transcoders.trainable import TranscoderRecipe
from saes.transcoders.training import TranscoderProgress, train_transcoder, trial
from saes.transcoders.transcoder import Transcoder

__all__ = ["TranscoderPlan", "quality_table", "train_and_write"]


class TranscoderPlan(Frozen):
    """layers:  none for the one at about 70 % of the depth
    held_out:   share of the documents that training never sees, in (0, 1)
    evaluated:  held-out documents that the transcoder is measured on, at most
    max_tokens: as in a ``HarvestPlan``
    text:       what the text is called
    """

    model: Path
    out: Path
    text: str = ""
    layers: tuple[int, ...] = ()
    max_tokens: int | None = None
    held_out: float = 0.1
    evaluated: int = 500
    recipe: TranscoderRecipe = TranscoderRecipe()
    train: TrainConfig = TrainConfig()
    harvest: HarvestConfig = HarvestConfig()
    buffer_tokens: int = Field(default=32_768, ge=1)
    budget: Budget = Budget()
    engine: EngineOptions = EngineOptions()

    @classmethod
    def of(cls, d_sae: int, k: float, tokens: int, **fields: Any) -> Self:
        """Raises InvalidInput."""
        try:
            recipe = TranscoderRecipe(d_sae=d_sae, k=k)
            return cls(recipe=recipe, train=TrainConfig.here(tokens=tokens), **fields)
        except ValidationError as error:
            raise InvalidInput(reason(error)) from None


class Texts(NamedTuple):
    """documents: to train on, in their order;  special: tokens that are no text"""

    documents: Sequence[Document]
    held_out: Sequence[Document]
    special: frozenset[int]


def train_and_write(plan: TranscoderPlan, entries: Sequence[str | list[Message]]) -> TranscoderManifest:
    """Raises ModelNotFound, UnsupportedModel, InvalidInput, BudgetExceeded; what is done is kept for the next start."""
    until = time.monotonic() + (plan.budget.seconds or float("inf"))
    plan.recipe.check()
    with phase("identifying the model"):
        identity, points = identify_hooks(plan.model, plan.layers, (READ, WRITTEN))
    partial = partial_folder(plan, identity, entries)
    with phase("starting the engine"):
        engine = Engine(plan.model, EngineConfig.capturing(*points, truncated=True), plan.engine)
    with engine:
        texts = texts_of(plan, engine, entries)
        job = agreed_job(plan, engine, identity, texts, points, partial)
        documents = list(enough(texts.documents, job.wanted, texts.special))
        reading = Reading(engine, documents, texts.special, identity, points, plan.harvest)
        held_out = harvested(
            reading._replace(documents=texts.held_out), partial / "held-out", "harvesting held-out documents", until
        )
        chunks = chunks_of(job, reading, partial / "training", until)
        transcoder = train_on(plan, job, chunks, len(points) // 2, partial / "checkpoint.safetensors", until)
    manifest = manifest_of(plan, identity, reading, job, measured(transcoder, held_out))
    written = write_transcoder(plan.out, transcoder, manifest)
    shutil.rmtree(partial)
    return written


def partial_folder(plan: TranscoderPlan, identity: ModelIdentity, entries: Sequence[str | list[Message]]) -> Path:
    """Beside the transcoder; another text, model or configuration has another name, another budget has not."""
    parts = [identity.stream, plan.model_dump(exclude={"model", "out", "text", "budget"}), entries]
    digest = hashlib.sha256(repr(parts).encode()).hexdigest()
    return plan.out.with_name(f"{plan.out.name}.partial-{digest[:12]}")


def texts_of(plan: TranscoderPlan, engine: Engine, entries: Sequence[str | list[Message]]) -> Texts:
    training, held_out = split(read_documents(engine, entries, plan.max_tokens), plan.held_out)
    shuffled = random.Random(plan.recipe.seed).sample(training, len(training))
    return Texts(shuffled, held_out[: plan.evaluated], special_ids(engine.tokenizer))


def agreed_job(
    plan: TranscoderPlan,
    engine: Engine,
    identity: ModelIdentity,
    texts: Texts,
    points: Sequence[HookPoint],
    partial: Path,
) -> Job:
    """Raises BudgetExceeded."""
    layers, width = len(points) // 2, len(points) * identity.d_model
    tokens = count_tokens(texts.documents, texts.special)
    job = Job(
        train=plan.train,
        buffer_tokens=plan.buffer_tokens,
        weights=plan.recipe.weights(layers, identity.d_model),
        latents=layers * plan.recipe.d_sae,
        width=width,
        text_tokens=tokens,
        chunk_tokens=plan.harvest.tokens_at(len(points), len(texts.documents), tokens),
        token_bytes=token_bytes(width, plan.harvest),
    )
    with phase("measuring what it will cost"):
        step = trial(layers, identity.d_model, plan.recipe, plan.train)
        rates = measure(engine, texts.documents, job, step, points)
    return agreed(job, plan.budget, rates, partial)


def train_on(plan: TranscoderPlan, job: Job, chunks: Chunks, layers: int, checkpoint: Path, until: float) -> Transcoder:
    tokens = job.train.batch_tokens
    stream = Stream(chunks, StreamConfig(buffer_tokens=plan.buffer_tokens, batch_tokens=tokens))
    with training_bar(job) as bar:

        def show(progress: TranscoderProgress) -> None:
            bar.at(progress.step * tokens)
            explained = " ".join(f"{each:.3f}" for each in progress.explained_variance)
            bar.say(f"EV {explained}  L0 {progress.l0:.1f}  dead {progress.dead:.1%}")

        d_model = job.width // (2 * layers)
        return train_transcoder(stream, layers, d_model, plan.recipe, job.train, checkpoint, show, until)


def measured(transcoder: Transcoder, harvest: Harvest) -> TranscoderQuality:
    with phase("measuring it on held-out documents"):
        columns = (harvest.read(shard) for shard in range(len(harvest)))
        return evaluate_transcoder(transcoder, (pairs(each, transcoder.layers) for each in columns))


def manifest_of(
    plan: TranscoderPlan, identity: ModelIdentity, reading: Reading, job: Job, metrics: TranscoderQuality
) -> TranscoderManifest:
    return TranscoderManifest(
        name=plan.out.name,
        reads=tuple(point for point in reading.points if point.site is READ),
        writes=tuple(point for point in reading.points if point.site is WRITTEN),
        d_model=identity.d_model,
        d_sae=plan.recipe.d_sae,
        k=plan.recipe.k,
        model=identity,
        dataset=dataset_of(plan.text, reading.documents),
        training=plan.recipe.model_dump() | job.train.model_dump(),
        metrics=metrics,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def quality_table(manifest: TranscoderManifest) -> Table:
    table = Table("layer", "explained variance", "L0", "dead", title=f"on {manifest.metrics.tokens:,} held-out tokens")
    metrics = manifest.metrics
    for point, ev, l0, dead in zip(manifest.reads, metrics.explained_variance, metrics.l0, metrics.dead, strict=True):
        table.add_row(str(point.layer), f"{ev:.3f}", f"{l0:.1f}", f"{dead:.1%}")
    return table
