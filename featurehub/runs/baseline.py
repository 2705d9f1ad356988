"""What is measured of a finished SAE, whoever made it, and kept for every later drift check."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import Field

from featurehub.artifacts.artifact import REPORT, seal
from featurehub.artifacts.manifest import HookPoint, ModelIdentity
from featurehub.dictionary import Dictionary
from featurehub.engine.offline import Engine
from featurehub.runs.harvest import read_documents
from featurehub.runs.material import Material, dataset_of
from featurehub.runs.progress import Progress
from featurehub.settings import Frozen
from featurehub.token_ids import Message, special_ids
from saes.activations import FeatureActivations, encode_documents
from saes.canaries import CanaryConfig, choose_canaries
from saes.documents import Document
from saes.drift.check import ANSWERS, CANARIES, CheckConfig, answer_prompts
from saes.drift.tokens import TOKENS, save_tokens
from saes.observed import observe
from saes.report import write_report
from saes.train import TrainedSae

__all__ = [
    "DOCUMENTS",
    "BaselineConfig",
    "EvaluatedSae",
    "evaluated",
    "keep_baseline",
    "manifest_fields",
    "seal_trained",
]

READ_AT_ONCE = 64
"""Documents that are read in one call: more may take minutes, and it is to be seen how far it is."""
DOCUMENTS = 3000
"""Most held-out documents that are read, by default."""


class BaselineConfig(Frozen):
    """What an SAE's evaluation and canaries depend on.

    Attributes:
        documents: Most held-out documents that metrics, labels and statistics are computed from.
        canaries: How canary documents are chosen.
        canary_text: The only texts or chats that they are taken from, since they are kept with the artifact; held-out
            documents if there are none.
        check: How the canaries' prompts are answered, here and in every later drift check.
    """

    documents: int = Field(default=DOCUMENTS, ge=1)
    canaries: CanaryConfig = CanaryConfig()
    canary_text: tuple[str | list[Message], ...] = ()
    check: CheckConfig = CheckConfig()


class EvaluatedSae(NamedTuple):
    """An SAE and what it does on held-out documents.

    Attributes:
        dictionary: The SAE.
        activations: Its activations on the held-out documents.
    """

    dictionary: Dictionary
    activations: FeatureActivations


def evaluated(
    engine: Engine, dictionary: Dictionary, documents: Sequence[Document], progress: Progress, span: int = 1
) -> EvaluatedSae:
    """Encodes held-out documents with an SAE, reading them through an engine; ``span`` is that of its training."""
    with progress.work("reading held-out documents", len(documents), "documents") as advance:
        special = special_ids(engine.tokenizer)
        seen = encode_documents(engine, dictionary, documents, special, READ_AT_ONCE, advance, span)
        return EvaluatedSae(dictionary, seen)


def keep_baseline(
    config: BaselineConfig, engine: Engine, sae: EvaluatedSae, folder: Path, progress: Progress
) -> dict[str, float]:
    """Writes the canaries, and the model's answers to their prompts, into an artifact's folder.

    Args:
        config: How canaries are chosen and their prompts answered.
        engine: Reads at the SAE's hook point and answers.
        sae: The SAE with its activations on held-out documents.
        folder: Folder of the artifact to be sealed.
        progress: Receives progress reports.

    Returns:
        The metrics for the manifest.
    """
    with progress.phase("choosing canaries and answering their prompts"):
        given = sae.activations if not config.canary_text else seen_in(config.canary_text, engine, sae, progress)
        documents = [given.documents[i] for i in choose_canaries(given, config.canaries)]
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


def seen_in(
    entries: Sequence[str | list[Message]], engine: Engine, sae: EvaluatedSae, progress: Progress
) -> FeatureActivations:
    """What an SAE does in the texts that canaries may be taken from. Raises InvalidInput where there is no token."""
    documents = read_documents(engine, entries, None, progress)
    return encode_documents(engine, sae.dictionary, documents, special_ids(engine.tokenizer), READ_AT_ONCE)


def manifest_fields(
    name: str,
    identity: ModelIdentity,
    hook: HookPoint,
    dictionary: Dictionary,
    metrics: dict[str, float],
    own: Mapping[str, Any],
) -> dict[str, Any]:
    """The fields of an artifact's manifest.

    Args:
        name: Name of the artifact.
        identity: The model as seen from the hook point.
        hook: Where the SAE reads.
        dictionary: The SAE.
        metrics: As ``keep_baseline`` returns them.
        own: What only the maker of the SAE knows: architecture, k, dataset, training and the like.
    """
    return {
        "name": name,
        "d_model": dictionary.d_model,
        "d_sae": dictionary.d_sae,
        "hook": hook,
        "model": identity,
        "metrics": metrics,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        **own,
    }


def seal_trained(
    config: BaselineConfig,
    engine: Engine,
    material: Material,
    made: TrainedSae,
    sae: EvaluatedSae,
    folder: Path,
    progress: Progress,
    *,
    name: str,
    judge: str = "",
) -> None:
    """Seals an SAE with its canaries and training report.

    Args:
        config: How canaries are chosen and their prompts answered.
        engine: Reads at the hook point and answers.
        material: What the SAE was trained on.
        made: The trained SAE.
        sae: The same with its activations on held-out documents.
        folder: Already holds the SAE's weights; becomes the artifact.
        progress: Receives progress reports.
        name: Name of the artifact.
        judge: Name of the judge that will judge its labels; "" if that is not known yet.
    """
    metrics = keep_baseline(config, engine, sae, folder, progress)
    write_report(folder / REPORT, name, made.history, sae.activations.density)
    own = {
        "architecture": made.recipe.architecture,
        "k": made.recipe.k,
        "dataset": dataset_of(material.text, material.training),
        "training": made.recipe.model_dump(mode="json", exclude={"parent"}) | made.config.model_dump(),
        "parent": made.recipe.parent,
        "judge": judge,
    }
    seal(folder, manifest_fields(name, material.identity, material.hook, sae.dictionary, metrics, own))
