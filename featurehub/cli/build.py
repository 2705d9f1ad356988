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

import shutil
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from featurehub.artifacts.artifact import WEIGHTS, Artifact, open_artifact, seal
from featurehub.artifacts.files import replace_folder
from featurehub.artifacts.manifest import HookPoint, ModelIdentity
from featurehub.cli.harvest import identify_hook, read_documents
from featurehub.cli.label import label_and_register
from featurehub.cli.progress import phase, work
from featurehub.cli.training import TrainPlan, harvest_and_train, partial_folder
from featurehub.dictionary import Dictionary
from featurehub.engine.config import EngineConfig
from featurehub.engine.offline import Engine
from featurehub.errors import InvalidInput
from labeling.strength import CalibrationConfig, SteeringJudge
from saes.activations import FeatureActivations, encode_documents
from saes.canaries import choose_canaries
from saes.documents import Document, count_tokens, prompt_ids, special_ids
from saes.drift.check import ANSWERS, CANARIES, Judge, answer_prompts
from saes.observed import observe
from saes.report import write_report
from saes.texts import Message
from saes.train import TrainedSae

__all__ = ["BuildJudge", "BuildPlan", "Trained", "build"]


REPORT = "training.html"


class BuildJudge(Judge, SteeringJudge, Protocol):
    """Judges labels for both drift and calibration."""


class BuildPlan(TrainPlan):
    """Everything a build depends on but the text; it has one recipe."""

    database: str
    name: str
    calibration: CalibrationConfig = CalibrationConfig()


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
        [made] = harvest_and_train(plan, engine, identity, hook, training, partial)
        trained = observed(plan, engine, made.dictionary, held_out)
        metrics = keep_baseline(plan, engine, trained, folder)
        write_report(folder / REPORT, plan.name, made.history, trained.observed.density)
        seal(folder, manifest_fields(plan, made, identity, hook, metrics, training))
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
    plan: BuildPlan,
    made: TrainedSae,
    identity: ModelIdentity,
    hook: HookPoint,
    metrics: dict[str, float],
    training: Sequence[Document],
) -> dict[str, Any]:
    return {
        "name": plan.name,
        "architecture": made.recipe.architecture,
        "d_model": identity.d_model,
        "d_sae": made.recipe.d_sae,
        "k": made.recipe.k,
        "hook": hook,
        "model": identity,
        "dataset": {"documents": len(training), "tokens": count_tokens(training)},
        "training": made.recipe.model_dump(mode="json") | made.config.model_dump(),
        "metrics": metrics,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
    }
