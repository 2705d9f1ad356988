"""`featurehub build`: a model and text become an SAE artifact, labelled features, and calibrated strengths.

1. identify the model: fingerprints of its weights, tokenizer and template
2. split the documents into training, and held-out ones that everything after training is measured on
3. harvest through the engine, and train
4. evaluate, and observe what the features do on held-out documents
5. choose the canaries, and let the model answer their prompts: the baseline of every later drift check
6. seal the artifact
7. label every live latent
8. calibrate strengths by steering
9. register artifact, features, labels and strengths in the database, in one transaction

Harvest and training keep what they have beside the artifact, in a folder named after what they depend on. A build that
is started again goes on from there; the folder goes when the build is done.
"""

import hashlib
import random
import shutil
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from featurehub.artifacts.artifact import WEIGHTS, Artifact, open_artifact, seal
from featurehub.artifacts.files import replace_folder
from featurehub.artifacts.manifest import HookPoint, ModelIdentity
from featurehub.cli.harvest import identify_hook, read_documents
from featurehub.cli.label import label_and_register
from featurehub.cli.progress import phase, work
from featurehub.dictionary import Dictionary
from featurehub.engine.config import EngineConfig
from featurehub.engine.offline import Engine, EngineOptions
from featurehub.errors import InvalidInput
from featurehub.settings import Frozen
from labeling.strength import CalibrationConfig, SteeringJudge
from saes.activations import FeatureActivations, encode_documents
from saes.canaries import CanaryConfig, choose_canaries
from saes.documents import Document, count_tokens, prompt_ids, special_ids
from saes.drift.check import ANSWERS, CANARIES, CheckConfig, Judge, answer_prompts
from saes.harvest import Harvest, HarvestConfig, harvest_documents
from saes.observed import observe
from saes.recipes import Recipe
from saes.stream import Stream, StreamConfig
from saes.texts import Message
from saes.train import SCALE_BATCHES, Progress, TrainConfig, train

__all__ = ["BuildJudge", "BuildPlan", "Trained", "build"]


class BuildJudge(Judge, SteeringJudge, Protocol):
    """Judges labels for both drift and calibration."""


class BuildPlan(Frozen):
    """Everything a build depends on but the text.

    layer, max_tokens: as in a ``HarvestPlan``
    held_out: share of the documents that training never sees, in (0, 1)
    observed: held-out documents that labels and statistics are made from, at most
    """

    model: Path
    out: Path
    database: str
    name: str
    layer: int | None = None
    max_tokens: int | None = None
    held_out: float = 0.25
    observed: int = 3000
    recipe: Recipe = Recipe()
    train: TrainConfig = TrainConfig()
    harvest: HarvestConfig = HarvestConfig()
    buffer_tokens: int = 65_536
    canaries: CanaryConfig = CanaryConfig()
    check: CheckConfig = CheckConfig()
    calibration: CalibrationConfig = CalibrationConfig()
    engine: EngineOptions = EngineOptions()


class Trained(NamedTuple):
    dictionary: Dictionary
    observed: FeatureActivations


def build(
    plan: BuildPlan, entries: Sequence[str | list[Message]], judge: BuildJudge, prompts: Sequence[list[Message] | str]
) -> Artifact:
    """Builds and registers the artifact in ``plan.out``. ``prompts`` are what strengths are calibrated on.

    Raises ModelNotFound, UnsupportedModel, InvalidInput, BudgetExceeded; nothing is left half-built.
    """
    with phase("identifying the model"):
        identity, hook = identify_hook(plan.model, plan.layer)
    with phase("starting the engine"):
        engine = Engine(plan.model, EngineConfig.capturing(hook), plan.engine)
    with engine, replace_folder(plan.out) as folder:
        documents = read_documents(engine, entries, plan.max_tokens)
        training, held_out = split(documents, plan.held_out)
        partial = partial_folder(plan, identity, hook, training)
        dictionary = harvest_and_train(plan, engine, identity, hook, training, partial)
        trained = observed(plan, engine, dictionary, held_out)
        metrics = keep_baseline(plan, engine, trained, folder)
        seal(folder, manifest_fields(plan, identity, hook, metrics, training))
        calibration_prompts = [prompt_ids(engine.tokenizer, prompt) for prompt in prompts]
    artifact = open_artifact(plan.out)
    with phase("starting the engine with the SAE"):
        engine = Engine(plan.model, EngineConfig.holding(artifact), plan.engine)
    with engine:
        label_and_register(plan, artifact, engine, trained, judge, calibration_prompts)
    shutil.rmtree(partial)
    return artifact


def split(documents: Sequence[Document], held_out: float) -> tuple[list[Document], list[Document]]:
    """Training and held-out documents. Raises InvalidInput where there are too few."""
    stride = max(2, round(1 / held_out))
    if len(documents) < 8 * stride:
        raise InvalidInput(f"{len(documents)} documents are too few; give at least {8 * stride}", param="text")
    training = [document for i, document in enumerate(documents) if i % stride]
    return training, list(documents[::stride])


def partial_folder(plan: BuildPlan, identity: ModelIdentity, hook: HookPoint, training: Sequence[Document]) -> Path:
    """Beside the artifact; another text, model or configuration has another name."""
    parts = [identity.reads, hook, plan.recipe, plan.train, plan.harvest, plan.buffer_tokens, training]
    digest = hashlib.sha256(repr(parts).encode()).hexdigest()
    return plan.out.with_name(f"{plan.out.name}.partial-{digest[:12]}")


def harvest_and_train(
    plan: BuildPlan,
    engine: Engine,
    identity: ModelIdentity,
    hook: HookPoint,
    training: Sequence[Document],
    partial: Path,
) -> Dictionary:
    shuffled = random.Random(plan.recipe.seed).sample(training, len(training))
    wanted = plan.train.tokens + SCALE_BATCHES * plan.train.batch_tokens + plan.buffer_tokens
    documents, special = list(enough(shuffled, wanted)), special_ids(engine.tokenizer)
    with work("harvesting", count_tokens(documents), "tokens") as bar:
        folder = partial / "harvest"
        harvest = harvest_documents(
            engine, documents, special, folder, identity, hook, plan.harvest, lambda tokens, _: bar(tokens)
        )
    return train_on(plan, harvest, partial / "checkpoint.safetensors")


def train_on(plan: BuildPlan, harvest: Harvest, checkpoint: Path) -> Dictionary:
    config = StreamConfig(buffer_tokens=plan.buffer_tokens, batch_tokens=plan.train.batch_tokens)
    with work("training", plan.train.steps * plan.train.batch_tokens, "tokens") as bar:

        def show(progress: Progress) -> None:
            bar.at(progress.step * plan.train.batch_tokens)
            bar.say(f"EV {progress.explained_variance:.3f}  L0 {progress.l0:.1f}  dead {progress.dead:.1%}")

        stream, d_model = Stream(harvest, config), harvest.record.d_model
        [dictionary] = train(stream, d_model, [plan.recipe], plan.train, checkpoint, show)
    return dictionary


def enough(documents: Iterable[Document], tokens: int) -> Iterator[Document]:
    """The first documents that come to so many tokens; all of them where they come to less."""
    for document in documents:
        if tokens <= 0:
            return
        yield document
        tokens -= len(document.token_ids)


def observed(plan: BuildPlan, engine: Engine, dictionary: Dictionary, held_out: Sequence[Document]) -> Trained:
    documents = held_out[: plan.observed]
    with work("reading held-out documents", len(documents), "documents") as advance:
        special = special_ids(engine.tokenizer)
        return Trained(dictionary, encode_documents(engine, dictionary, documents, special, progress=advance))


def keep_baseline(plan: BuildPlan, engine: Engine, trained: Trained, folder: Path) -> dict[str, float]:
    """Weights, canaries and the model's own answers into ``folder``; returns the metrics for the manifest."""
    trained.dictionary.save(folder / WEIGHTS)
    with phase("choosing canaries and answering their prompts"):
        chosen = choose_canaries(trained.observed, plan.canaries)
        documents = [trained.observed.documents[i] for i in chosen]
        canaries = encode_documents(engine, trained.dictionary, documents, special_ids(engine.tokenizer))
        observe(canaries).save(folder / CANARIES)
        prompts = [document.token_ids[: document.prompt_len] for document in documents]
        observe(answer_prompts(engine, trained.dictionary, prompts, plan.check)).save(folder / ANSWERS)
    return {
        **trained.observed.quality.model_dump(),
        "canary_explained_variance": canaries.quality.explained_variance,
        "median_norm": trained.observed.median_norm,
    }


def manifest_fields(
    plan: BuildPlan, identity: ModelIdentity, hook: HookPoint, metrics: dict[str, float], training: Sequence[Document]
) -> dict[str, Any]:
    return {
        "name": plan.name,
        "architecture": plan.recipe.architecture,
        "d_model": identity.d_model,
        "d_sae": plan.recipe.d_sae,
        "k": plan.recipe.k,
        "hook": hook,
        "model": identity,
        "dataset": {"documents": len(training), "tokens": count_tokens(training)},
        "training": plan.recipe.model_dump(mode="json") | plan.train.model_dump(),
        "metrics": metrics,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
    }
