"""`featurehub build`: a model and text become an SAE artifact, labelled features, and calibrated strengths.

1. identify the model: fingerprints of its weights, tokenizer and template
2. split the documents into training, and held-out ones that everything after training is measured on
3. harvest through the engine and train
4. evaluate, and observe what the features do on held-out documents
5. choose the canaries, and let the model answer their prompts: the baseline of every later drift check
6. seal the artifact
7. label every live latent
8. calibrate strengths by steering
9. register artifact, features, labels and strengths in the database, in one transaction
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from featurehub.artifacts.artifact import WEIGHTS, Artifact, open_artifact, seal
from featurehub.artifacts.files import replace_folder
from featurehub.artifacts.fingerprint import identify
from featurehub.artifacts.manifest import HookPoint, ModelIdentity
from featurehub.cli.label import label_and_register
from featurehub.cli.progress import phase, work
from featurehub.dictionary import Dictionary
from featurehub.engine.config import EngineConfig
from featurehub.engine.offline import Engine, EngineOptions
from featurehub.engine.plugin import check_architecture
from featurehub.errors import InvalidInput
from featurehub.settings import Frozen
from labeling.strength import CalibrationConfig, SteeringJudge
from saes.activations import FeatureActivations, encode_documents
from saes.canaries import CanaryConfig, choose_canaries
from saes.documents import Document, Message, prompt_ids, special_ids, tokenize
from saes.drift.check import ANSWERS, CANARIES, CheckConfig, Judge, answer_prompts
from saes.observed import observe
from saes.stream import StreamConfig, read_batches
from saes.train import TrainConfig, train

__all__ = ["BuildJudge", "BuildPlan", "Trained", "build"]


class BuildJudge(Judge, SteeringJudge, Protocol):
    """Judges labels for both drift and calibration."""


class BuildPlan(Frozen):
    """Everything a build depends on but the text.

    layer:    hook layer; None for the one at about 70 % of the depth
    held_out: share of the documents that training never sees, in (0, 1)
    observed: held-out documents that labels and statistics are made from, at most
    """

    model: Path
    out: Path
    database: str
    name: str
    layer: int | None = None
    max_tokens: int = 256
    held_out: float = 0.25
    observed: int = 3000
    train: TrainConfig = TrainConfig()
    stream: StreamConfig = StreamConfig()
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
        identity, hook = identify_hook(plan)
    with phase("starting the engine"):
        engine = Engine(plan.model, EngineConfig.capturing(hook), plan.engine)
    with engine, replace_folder(plan.out) as folder:
        documents = list(tokenize(engine.tokenizer, entries, plan.max_tokens))
        training, held_out = split(documents, plan.held_out)
        trained = train_and_observe(plan, engine, identity.d_model, training, held_out)
        metrics = keep_baseline(plan, engine, trained, folder)
        seal(folder, manifest_fields(plan, identity, hook, metrics, training))
        calibration_prompts = [prompt_ids(engine.tokenizer, prompt) for prompt in prompts]
    artifact = open_artifact(plan.out)
    with phase("starting the engine with the SAE"):
        engine = Engine(plan.model, EngineConfig.holding(artifact), plan.engine)
    with engine:
        label_and_register(plan, artifact, engine, trained, judge, calibration_prompts)
    return artifact


def identify_hook(plan: BuildPlan) -> tuple[ModelIdentity, HookPoint]:
    first = identify(plan.model, HookPoint(layer=0))
    check_architecture(first.architecture)
    layer = plan.layer if plan.layer is not None else round(0.7 * (first.layers - 1))
    return identify(plan.model, HookPoint(layer=layer)), HookPoint(layer=layer)


def split(documents: Sequence[Document], held_out: float) -> tuple[list[Document], list[Document]]:
    """Training and held-out documents. Raises InvalidInput where there are too few."""
    stride = max(2, round(1 / held_out))
    if len(documents) < 8 * stride:
        raise InvalidInput(f"{len(documents)} documents are too few; give at least {8 * stride}", param="text")
    training = [document for i, document in enumerate(documents) if i % stride]
    return training, list(documents[::stride])


def train_and_observe(
    plan: BuildPlan, engine: Engine, d_model: int, training: Sequence[Document], held_out: Sequence[Document]
) -> Trained:
    special = special_ids(engine.tokenizer)
    with work("harvesting and training", plan.train.tokens) as advance:
        batches = read_batches(engine, training, special, plan.stream, advance)
        dictionary = train(batches, d_model, plan.train)
    observed = held_out[: plan.observed]
    with work("reading held-out documents", len(observed)) as advance:
        activations = encode_documents(engine, dictionary, observed, special, progress=advance)
    return Trained(dictionary, activations)


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
        "architecture": "batchtopk",
        "d_model": identity.d_model,
        "d_sae": plan.train.d_sae,
        "k": plan.train.k,
        "hook": hook,
        "model": identity,
        "dataset": {"documents": len(training), "tokens": sum(len(d.token_ids) for d in training)},
        "training": plan.train.model_dump(),
        "metrics": metrics,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
    }
