"""Runs a drift check: its questions, cheapest first.

1. *Is it the same function?* Weights, precision, configuration, tokenizer and chat template equal: fresh by
   construction, and nothing is run (``by_construction``).
2. *Do token ids mean the same?* With another tokenizer they do not, and everything is stale.
3. *Does it read the same?* One prefill pass of the new model over the canaries: reconstruction for the SAE; per feature
   the correlation of its activations and the fall of its label's F1. Then the canaries' prompts are answered by the new
   model and the labels are checked on those answers, since a label can go wrong while no activation on old text moves.
   Where the tokenizer or the chat template changed but the ids did not, a feature is suspect at best, since the
   canaries have the old form.
4. *Does it still steer?* Not asked here; ``steers`` stays unchecked.
"""

import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Protocol

from featurehub.artifacts.artifact import Artifact
from featurehub.artifacts.manifest import ModelIdentity, Part
from featurehub.dictionary import Dictionary
from featurehub.edits import Steering
from featurehub.engine.offline import Generation, Sampling
from featurehub.features import State
from featurehub.records import Label
from featurehub.settings import Frozen
from featurehub.token_ids import special_ids
from featurehub.verdicts import DriftReport, FeatureVerdict
from saes.activations import FeatureActivations, encode_documents
from saes.documents import Document
from saes.drift.measures import Judge, measure
from saes.drift.rules import Thresholds, judge_artifact, judge_feature, reconstructs
from saes.drift.tokens import disagreement
from saes.observed import Observations, observe
from saes.reader import StreamReader

__all__ = ["ANSWERS", "CANARIES", "CheckConfig", "answer_prompts", "by_construction", "check"]

CANARIES = "canaries.safetensors"
"""An artifact's file of canaries."""
ANSWERS = "answers.safetensors"
"""An artifact's file of its model's answers to the canaries' prompts."""
FORM = (Part.TOKENIZER, Part.CHAT_TEMPLATE)
"""The parts of a model's identity that determine the form of its prompts, and so of the canaries."""


class Model(StreamReader, Protocol):
    """The new model, behind the engine: it reads the stream and generates answers.

    Attributes:
        tokenizer: A tokenizer of transformers.
    """

    @property
    def tokenizer(self) -> Any: ...

    def generate(
        self, prompts: Sequence[Sequence[int]], steerings: Sequence[Steering | None], sampling: Sampling
    ) -> Iterator[Generation]: ...


class CheckConfig(Frozen):
    """How a drift check is run.

    Attributes:
        thresholds: Effect sizes from which on a feature or an artifact is not fresh.
        sampling: How the new model's answers are drawn.
        documents_per_read: How many documents are read in one call; it bounds memory.
    """

    thresholds: Thresholds = Thresholds()
    sampling: Sampling = Sampling(temperature=0.7, max_tokens=96, seed=17)
    documents_per_read: int = 256


def by_construction(artifact: Artifact, identity: ModelIdentity, labels: Mapping[int, Label]) -> DriftReport | None:
    """Question 1: returns a report that all is fresh if the model is the one that the SAE was trained on.

    Args:
        artifact: The SAE.
        identity: Identity of the model.
        labels: Labels by latent.

    Returns:
        The report, or None if the model computes another function.
    """
    if not artifact.manifest.model.same_function(identity):
        return None
    verdicts = [fresh(latent, label) for latent, label in labels.items()]
    return report(artifact, identity, State.FRESH, f"the same {', '.join(Part)}", {}, verdicts)


def check(
    artifact: Artifact,
    identity: ModelIdentity,
    model: Model,
    labels: Mapping[int, Label],
    judge: Judge,
    config: CheckConfig,
    progress: Callable[[str], None] = lambda phase: None,
) -> DriftReport:
    """Questions 2 and 3: checks whether ``artifact`` and its features still hold on ``model``.

    Args:
        artifact: The SAE, with its canaries and the answers of the model that it was made on.
        identity: Identity of ``model``.
        model: The new model.
        labels: Labels by latent; only labelled latents are judged.
        judge: The judge that judged the labels first.
        config: How to check.
        progress: Called with the name of each phase.

    Raises:
        CorruptArtifact: If the artifact's weights, canaries or answers cannot be read.
    """
    if another := disagreement(artifact, identity, model.tokenizer):
        return report(artifact, identity, State.STALE, another, {}, [stale(*each, another) for each in labels.items()])
    dictionary = Dictionary.load(artifact.weights)
    progress("reading the canaries")
    old_texts = Observations.load(artifact.folder / CANARIES)
    metrics, new_texts = read_canaries(artifact, dictionary, model, old_texts, config)
    progress("answering the canaries' prompts")
    old_answers = Observations.load(artifact.folder / ANSWERS)
    prompts = [old_answers.prompt(i) for i in old_answers.documents]
    new_answers = answer_prompts(model, dictionary, prompts, config)
    progress("judging")
    measured = measure(old_texts, new_texts, old_answers, observe(new_answers), labels, judge, model.tokenizer)
    another_form = [part for part in artifact.manifest.model.differences(identity) if part in FORM]
    verdicts = [in_form(judge_feature(m, config.thresholds), another_form) for m in measured]
    state, reason = judge_artifact(metrics, verdicts, config.thresholds)
    if not reconstructs(metrics, config.thresholds):
        verdicts = [v.model_copy(update={"reads": State.STALE, "reason": f"the whole SAE: {reason}"}) for v in verdicts]
    return report(artifact, identity, state, reason, metrics, verdicts)


def fresh(latent: int, label: Label) -> FeatureVerdict:
    return FeatureVerdict(
        latent=latent, label=label.text, reads=State.FRESH, steers=State.FRESH, reason="the model is the same function"
    )


def stale(latent: int, label: Label, reason: str) -> FeatureVerdict:
    return FeatureVerdict(latent=latent, label=label.text, reads=State.STALE, steers=State.UNCHECKED, reason=reason)


def in_form(verdict: FeatureVerdict, another: Sequence[Part]) -> FeatureVerdict:
    """Makes a fresh verdict suspect if the model's prompts have another form than the canaries."""
    if not another or verdict.reads is not State.FRESH:
        return verdict
    reason = f"{verdict.reason}, but on canaries in the form of another {' and '.join(another)}"
    return verdict.model_copy(update={"reads": State.SUSPECT, "reason": reason})


def read_canaries(
    artifact: Artifact, dictionary: Dictionary, model: Model, old: Observations, config: CheckConfig
) -> tuple[dict[str, float], FeatureActivations]:
    """Question 3, first half: returns the SAE's quality on the canaries, and every feature's activations."""
    documents = [Document(old.document(i), int(old.prompt_lens[i])) for i in old.documents]
    special = special_ids(model.tokenizer)
    activations = encode_documents(model, dictionary, documents, special, config.documents_per_read)
    l0_old = old.matrix.nnz / max(1, activations.tokens)
    metrics = {
        "explained_variance_old": artifact.manifest.metrics["canary_explained_variance"],
        "explained_variance_new": activations.quality.explained_variance,
        "l0_old": l0_old,
        "l0_new": activations.quality.l0,
        "canary_tokens": float(activations.tokens),
    }
    return metrics, activations


def answer_prompts(
    model: Model, dictionary: Dictionary, prompts: Sequence[list[int]], config: CheckConfig
) -> FeatureActivations:
    """Lets the model answer prompts, and encodes its answers.

    Args:
        model: The model, which is not steered.
        dictionary: The SAE.
        prompts: Token ids of each prompt.
        config: How answers are drawn and read.

    Returns:
        The activations on prompts and answers, one document each.
    """
    answers = model.generate(prompts, [None] * len(prompts), config.sampling)
    documents: list[Document] = [
        Document(prompt + answer.token_ids, len(prompt)) for prompt, answer in zip(prompts, answers, strict=True)
    ]
    return encode_documents(model, dictionary, documents, special_ids(model.tokenizer), config.documents_per_read)


def report(
    artifact: Artifact,
    identity: ModelIdentity,
    state: State,
    reason: str,
    metrics: dict[str, float],
    verdicts: Sequence[FeatureVerdict],
) -> DriftReport:
    return DriftReport(
        id=f"dr_{uuid.uuid4().hex[:12]}",
        artifact=artifact.manifest.id,
        model=identity.name,
        fingerprint=identity.function,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        state=state,
        reason=reason,
        metrics=metrics,
        features=tuple(verdicts),
    )
