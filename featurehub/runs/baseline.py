"""What is measured of an SAE once there is one, whoever made it, and kept for every later drift check."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from featurehub.artifacts.artifact import WEIGHTS
from featurehub.artifacts.manifest import HookPoint, ModelIdentity
from featurehub.cli.progress import phase, work
from featurehub.dictionary import Dictionary
from featurehub.engine.offline import Engine
from saes.activations import FeatureActivations, encode_documents
from saes.canaries import CanaryConfig, choose_canaries
from saes.documents import Document, special_ids
from saes.drift.check import ANSWERS, CANARIES, CheckConfig, answer_prompts
from saes.drift.tokens import TOKENS, save_tokens
from saes.observed import observe

__all__ = ["BaselinePlan", "Trained", "keep_baseline", "manifest_fields", "observed"]


class BaselinePlan(Protocol):
    """What of a plan an SAE's evaluation and canaries depend on.

    observed: documents that labels and statistics are made from, at most
    """

    @property
    def observed(self) -> int: ...
    @property
    def canaries(self) -> CanaryConfig: ...
    @property
    def check(self) -> CheckConfig: ...


class Trained(NamedTuple):
    dictionary: Dictionary
    observed: FeatureActivations


def observed(plan: BaselinePlan, engine: Engine, dictionary: Dictionary, held_out: Sequence[Document]) -> Trained:
    documents = held_out[: plan.observed]
    with work("reading held-out documents", len(documents), "documents") as advance:
        special = special_ids(engine.tokenizer)
        return Trained(dictionary, encode_documents(engine, dictionary, documents, special, progress=advance))


def keep_baseline(plan: BaselinePlan, engine: Engine, trained: Trained, folder: Path) -> dict[str, float]:
    """Weights, canaries and the model's own answers into ``folder``; returns the metrics for the manifest."""
    trained.dictionary.save(folder / WEIGHTS)
    with phase("choosing canaries and answering their prompts"):
        chosen = choose_canaries(trained.observed, plan.canaries)
        documents = [trained.observed.documents[i] for i in chosen]
        canaries = encode_documents(engine, trained.dictionary, documents, special_ids(engine.tokenizer))
        kept = observe(canaries)
        kept.save(folder / CANARIES)
        prompts = [document.token_ids[: document.prompt_len] for document in documents]
        answers = observe(answer_prompts(engine, trained.dictionary, prompts, plan.check))
        answers.save(folder / ANSWERS)
        save_tokens(folder / TOKENS, engine.tokenizer, (kept, answers))
    return {
        **trained.observed.quality.model_dump(),
        "canary_explained_variance": canaries.quality.explained_variance,
        "median_norm": trained.observed.median_norm,
    }


def manifest_fields(
    name: str, identity: ModelIdentity, hook: HookPoint, metrics: dict[str, float], own: Mapping[str, Any]
) -> dict[str, Any]:
    """own: what only the maker of the SAE knows: architecture, d_sae, k, dataset, training"""
    return {
        "name": name,
        "d_model": identity.d_model,
        "hook": hook,
        "model": identity,
        "metrics": metrics,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        **own,
    }
