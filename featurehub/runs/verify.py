"""Whether an SAE is worth refreshing for a retrained model, and which of its labels hold once that is done."""

from typing import NamedTuple

from featurehub.artifacts.artifact import Artifact
from featurehub.artifacts.manifest import ModelIdentity
from featurehub.dictionary import Dictionary
from featurehub.engine.offline import Engine
from featurehub.records import Label
from featurehub.runs.judges import judge_called
from featurehub.runs.progress import Progress
from featurehub.token_ids import special_ids
from saes.activations import encode_documents
from saes.drift.check import ANSWERS, CANARIES, CheckConfig, answer_prompts, documents_of, read_canaries
from saes.drift.keeping import JudgedLabel, verify_labels
from saes.drift.rules import reconstructs
from saes.drift.tokens import disagreement
from saes.observed import Observations, observe

__all__ = ["Fit", "Verified", "fit_of", "verified"]


class Fit(NamedTuple):
    """How well an SAE reconstructs a retrained model, on its canaries.

    Attributes:
        before: Explained variance on the model that it was trained on.
        stale: The same on the retrained model.
        reason: Why training from scratch is better; "" where it is not.
    """

    before: float
    stale: float
    reason: str


class Verified(NamedTuple):
    """Which labels hold.

    Attributes:
        labels: What was found of each label, by latent.
        explained_variance: Of the refreshed SAE on the parent's canaries.
        answered: Tokens of prompts and answers that were generated and read for that.
    """

    labels: dict[int, JudgedLabel]
    explained_variance: float
    answered: int


def fit_of(artifact: Artifact, identity: ModelIdentity, engine: Engine, config: CheckConfig, progress: Progress) -> Fit:
    """Reads an SAE's canaries with a retrained model.

    Where it hardly reconstructs, its weights are no better to begin with than random ones, and its latents mean nothing
    that could be kept.

    Args:
        artifact: The SAE.
        identity: Identity of the retrained model.
        engine: The retrained model.
        config: From which loss on the SAE no longer reconstructs.
        progress: Receives progress reports.

    Raises:
        CorruptArtifact: The SAE's weights or canaries cannot be read.
    """
    before = artifact.manifest.metrics["canary_explained_variance"]
    if another := disagreement(artifact, identity, engine.tokenizer):
        return Fit(before, 0.0, another)
    old = Observations.load(artifact.folder / CANARIES)
    metrics, _ = read_canaries(artifact, Dictionary.load(artifact.weights), engine, old, config, progress.work)
    stale = metrics["explained_variance_new"]
    if reconstructs(metrics, config.thresholds):
        return Fit(before, stale, "")
    return Fit(
        before,
        stale,
        f"it explains {stale:.2f} of the retrained model's variance, and {before:.2f} of the one before: its latents "
        "mean nothing there, so hardly a name could be kept, and its weights are no better to begin with than random "
        "ones",
    )


def verified(
    parent: Artifact,
    labels: dict[int, Label],
    dictionary: Dictionary,
    engine: Engine,
    config: CheckConfig,
    progress: Progress,
) -> Verified:
    """Verifies the parent's labels on the refreshed SAE, by the judge that judged them first.

    Args:
        parent: The SAE before, with its canaries and the answers of the model that it was made on.
        labels: Its labels by latent.
        dictionary: The refreshed SAE.
        engine: The retrained model.
        config: How answers are drawn, and from which loss on a label does not hold.
        progress: Receives progress reports.

    Raises:
        CorruptArtifact: The parent's canaries or answers cannot be read.
        InvalidInput: Its labels were judged by a judge that is not known here.
    """
    judge = judge_called(parent.manifest.judge)
    texts, answers = (Observations.load(parent.folder / each) for each in (CANARIES, ANSWERS))
    documents, special, at_once = documents_of(texts), special_ids(engine.tokenizer), config.documents_per_read
    with progress.work("reading the parent's canaries", len(documents), "documents") as advance:
        new_texts = encode_documents(engine, dictionary, documents, special, at_once, advance)
    prompts = [answers.prompt(i) for i in answers.documents]
    new_answers = observe(answer_prompts(engine, dictionary, prompts, config, progress.work))
    found = verify_labels(
        texts, answers, new_texts, new_answers, labels, judge, engine.tokenizer, config.thresholds, progress.work
    )
    return Verified(found, new_texts.quality.explained_variance, len(new_answers.token_ids))
