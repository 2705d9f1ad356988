"""`featurehub transcoder train`: the MLPs of one layer or several become a transcoder, trained through the engine.

1. the stream before each MLP and what it adds are harvested in one pass, for documents to train on and held-out ones
2. the engine is closed, and the transcoder is trained
3. it is measured on the held-out documents and written, with its figures

Both harvests and the run's state lie beside the transcoder until it is written; a run that is started again goes on.
"""

import hashlib
import random
import shutil
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple, Self

from pydantic import Field, ValidationError
from rich.table import Table

from featurehub.artifacts.manifest import ModelIdentity
from featurehub.cli.harvest import identify_hooks, read_documents
from featurehub.cli.material import enough, split
from featurehub.cli.progress import phase, work
from featurehub.engine.config import EngineConfig
from featurehub.engine.offline import Engine, EngineOptions
from featurehub.errors import InvalidInput
from featurehub.features import reason
from featurehub.settings import Frozen
from saes.documents import Document, count_tokens, special_ids
from saes.harvest import Harvest, HarvestConfig, harvest_documents
from saes.run import TrainConfig
from saes.stream import Stream, StreamConfig
from saes.texts import Message
from saes.transcoders.folder import TranscoderManifest, write_transcoder
from saes.transcoders.pairs import READ, WRITTEN, pairs
from saes.transcoders.quality import TranscoderQuality, evaluate_transcoder
from saes.transcoders.trainable import TranscoderRecipe
from saes.transcoders.training import TranscoderProgress, train_transcoder
from saes.transcoders.transcoder import Transcoder

__all__ = ["TranscoderPlan", "quality_table", "train_and_write"]


class TranscoderPlan(Frozen):
    """layers:  none for the one at about 70 % of the depth
    held_out:   share of the documents that training never sees, in (0, 1)
    evaluated:  held-out documents that the transcoder is measured on, at most
    max_tokens: as in a ``HarvestPlan``
    """

    model: Path
    out: Path
    layers: tuple[int, ...] = ()
    max_tokens: int | None = None
    held_out: float = 0.1
    evaluated: int = 500
    recipe: TranscoderRecipe = TranscoderRecipe()
    train: TrainConfig = TrainConfig()
    harvest: HarvestConfig = HarvestConfig()
    buffer_tokens: int = Field(default=32_768, ge=1)
    engine: EngineOptions = EngineOptions()

    @classmethod
    def of(cls, d_sae: int, k: float, tokens: int, **fields: Any) -> Self:
        """Raises InvalidInput."""
        try:
            recipe = TranscoderRecipe(d_sae=d_sae, k=k)
            return cls(recipe=recipe, train=TrainConfig(tokens=tokens), **fields)
        except ValidationError as error:
            raise InvalidInput(reason(error)) from None


class Harvests(NamedTuple):
    training: Harvest
    held_out: Harvest


def train_and_write(plan: TranscoderPlan, entries: Sequence[str | list[Message]]) -> TranscoderManifest:
    """Raises ModelNotFound, UnsupportedModel, InvalidInput, BudgetExceeded; nothing is left half-written."""
    plan.recipe.check()
    with phase("identifying the model"):
        identity, points = identify_hooks(plan.model, plan.layers, (READ, WRITTEN))
    partial = partial_folder(plan, identity, entries)
    with phase("starting the engine"):
        engine = Engine(plan.model, EngineConfig.capturing(*points, truncated=True), plan.engine)
    with engine:
        harvests = harvest_pairs(plan, engine, identity, entries, partial)
    transcoder = train_on(plan, harvests.training, partial / "checkpoint.safetensors")
    manifest = manifest_of(plan, identity, harvests, measured(transcoder, harvests.held_out))
    written = write_transcoder(plan.out, transcoder, manifest)
    shutil.rmtree(partial)
    return written


def partial_folder(plan: TranscoderPlan, identity: ModelIdentity, entries: Sequence[str | list[Message]]) -> Path:
    """Beside the transcoder; another text, model or configuration has another name."""
    parts = [identity.reads, plan.model_dump(exclude={"model", "out"}), entries]
    digest = hashlib.sha256(repr(parts).encode()).hexdigest()
    return plan.out.with_name(f"{plan.out.name}.partial-{digest[:12]}")


def harvest_pairs(
    plan: TranscoderPlan,
    engine: Engine,
    identity: ModelIdentity,
    entries: Sequence[str | list[Message]],
    partial: Path,
) -> Harvests:
    points, special = [hook.point for hook in engine.config.hooks], special_ids(engine.tokenizer)
    training, held_out = split(read_documents(engine, entries, plan.max_tokens), plan.held_out)
    shuffled = random.Random(plan.recipe.seed).sample(training, len(training))

    def harvested(name: str, documents: Sequence[Document]) -> Harvest:
        with work(f"harvesting {name} documents", count_tokens(documents), "tokens") as bar:
            return harvest_documents(
                engine, documents, special, partial / name, identity, points, plan.harvest, lambda n, _: bar(n)
            )

    own = harvested("training", list(enough(shuffled, plan.train.wanted(plan.buffer_tokens))))
    return Harvests(own, harvested("held-out", held_out[: plan.evaluated]))


def train_on(plan: TranscoderPlan, harvest: Harvest, checkpoint: Path) -> Transcoder:
    record, tokens = harvest.record, plan.train.batch_tokens
    stream = Stream(harvest, StreamConfig(buffer_tokens=plan.buffer_tokens, batch_tokens=tokens))
    with work("training", plan.train.steps * tokens, "tokens") as bar:

        def show(progress: TranscoderProgress) -> None:
            bar.at(progress.step * tokens)
            explained = " ".join(f"{each:.3f}" for each in progress.explained_variance)
            bar.say(f"EV {explained}  L0 {progress.l0:.1f}  dead {progress.dead:.1%}")

        layers = len(record.hooks) // 2
        return train_transcoder(stream, layers, record.d_model, plan.recipe, plan.train, checkpoint, show)


def measured(transcoder: Transcoder, harvest: Harvest) -> TranscoderQuality:
    with phase("measuring it on held-out documents"):
        columns = (harvest.read(shard) for shard in range(len(harvest)))
        return evaluate_transcoder(transcoder, (pairs(each, transcoder.layers) for each in columns))


def manifest_of(
    plan: TranscoderPlan, identity: ModelIdentity, harvests: Harvests, metrics: TranscoderQuality
) -> TranscoderManifest:
    record = harvests.training.record
    return TranscoderManifest(
        name=plan.out.name,
        reads=tuple(hook for hook in record.hooks if hook.site is READ),
        writes=tuple(hook for hook in record.hooks if hook.site is WRITTEN),
        d_model=record.d_model,
        d_sae=plan.recipe.d_sae,
        k=plan.recipe.k,
        model=identity,
        dataset={"documents": record.documents, "tokens": record.tokens, "text": record.text},
        training=plan.recipe.model_dump() | plan.train.model_dump(),
        metrics=metrics,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def quality_table(manifest: TranscoderManifest) -> Table:
    table = Table("layer", "explained variance", "L0", "dead", title=f"on {manifest.metrics.tokens:,} held-out tokens")
    metrics = manifest.metrics
    for point, ev, l0, dead in zip(manifest.reads, metrics.explained_variance, metrics.l0, metrics.dead, strict=True):
        table.add_row(str(point.layer), f"{ev:.3f}", f"{l0:.1f}", f"{dead:.1%}")
    return table
