"""What is measured of an SAE once there is one, whoever made it, and kept for every later drift check."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import Field

from featurehub.artifacts.manifest import HookPoint, ModelIdentity
from featurehub.dictionary import Dictionary
from featurehub.engine.offline import Engine
from featurehub.runs.progress import Progress
from featurehub.settings import Frozen
from saes.activations import FeatureActivations, encode_documents
from saes.canaries import CanaryConfig, choose_canaries
from saes.documents import Document, special_ids
from saes.drift.check import ANSWERS, CANARIES, CheckConfig, answer_prompts
from saes.drift.tokens import TOKENS, save_tokens
from saes.observed import observe

__all__ = ["DOCUMENTS", "BaselineConfig", "EvaluatedSae", "evaluated", "keep_baseline", "manifest_fields"]

DOCUMENTS = 3000


class BaselineConfig(Frozen):
    """What an SAE's evaluation and canaries depend on.

    documents: held-out documents that figures, labels and statistics are made from, at most
    check:     how canaries' prompts are answered, as in every later drift check
    """

    documents: int = Field(default=DOCUMENTS, ge=1)
    canaries: CanaryConfig = CanaryConfig()
    check: CheckConfig = CheckConfig()


class EvaluatedSae(NamedTuple):
    """activations: of held-out documents"""

    dictionary: Dictionary
    activations: FeatureActivations


def evaluated(
    engine: Engine, dictionary: Dictionary, documents: Sequence[Document], progress: Progress
) -> EvaluatedSae:
    with progress.work("reading held-out documents", len(documents), "documents") as advance:
        special = special_ids(engine.tokenizer)
        return EvaluatedSae(dictionary, encode_documents(engine, dictionary, documents, special, progress=advance))


def keep_baseline(
    config: BaselineConfig, engine: Engine, sae: EvaluatedSae, folder: Path, progress: Progress
) -> dict[str, float]:
    """Canaries and the model's own answers into ``folder``; returns the metrics for the manifest."""
    with progress.phase("choosing canaries and answering their prompts"):
        chosen = choose_canaries(sae.activations, config.canaries)
        documents = [sae.activations.documents[i] for i in chosen]
        canaries = encode_documents(engine, sae.dictionary, documents, special_ids(engine.tokenizer))
        kept = observe(canaries)
        kept.save(folder / CANARIES)
        prompts = [document.token_ids[: document.prompt_len] for document in documents]
        answers = observe(answer_prompts(engine, sae.dictionary, prompts, config.check))
        answers.save(folder / ANSWERS)
        save_tokens(folder / TOKENS, engine.tokenizer, (kept, answers))
    return {
        **sae.activations.quality.model_dump(),
        "canary_explained_variance": canaries.quality.explained_variance,
        "median_norm": sae.activations.median_norm,
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
