"""The measurements of `featurehub saes eval`, and how they are stored.

1. Cross-entropy and KL divergence, through transformers: the whole model, with the SAE spliced in.
2. Reconstruction and densities, through an engine of the layers up to the hook point.
3. Probes on labelled texts, through the same engine.

transformers comes first, because vLLM changes some of its classes when it runs.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import torch
from transformers import AutoTokenizer

from featurehub.artifacts.artifact import Artifact, open_artifact, verify
from featurehub.artifacts.fingerprint import identify
from featurehub.artifacts.fits import check_fits
from featurehub.artifacts.manifest import ModelIdentity
from featurehub.dictionary import Dictionary
from featurehub.engine.offline import Engine, EngineOptions
from featurehub.errors import ArtifactNotFound
from featurehub.records import Evaluation
from featurehub.runs.engines import Engines
from featurehub.runs.harvest import tokens_read
from featurehub.runs.progress import SILENT, Progress
from featurehub.settings import Frozen
from featurehub.store import Store
from featurehub.token_ids import Message, special_ids
from saes.activations import FeatureActivations, encode_documents
from saes.documents import Document, text_hash, tokenize
from saes.evaluate import decades
from saes.examples import Example, tokenize_examples
from saes.host import Host, load_host
from saes.probing import ClassProbe, Means, ProbeConfig, document_means, mean_scores, probe
from saes.splice import Fidelity, measure_splice

__all__ = ["EvaluatedArtifact", "EvaluationPlan", "measure", "store_evaluation"]


class EvaluationPlan(Frozen):
    """Everything that an evaluation depends on except the texts.

    Attributes:
        artifact: Folder of the artifact.
        model: Folder of the model.
        text: What the held-out text is called.
        max_tokens: Longest document, in tokens; longer texts are cut into several. None for 256, or fewer if the model
            reads fewer at once.
        probes: How latents are probed on labelled texts.
        engine: Options of the engine that reads the model.
    """

    artifact: Path
    model: Path
    text: str
    max_tokens: int | None = None
    probes: ProbeConfig = ProbeConfig()
    engine: EngineOptions = EngineOptions()


class EvaluatedArtifact(NamedTuple):
    """What an evaluation found.

    Attributes:
        evaluation: The metrics, with the artifact, model and text that they belong to.
        probes: One per class; empty without labelled texts.
    """

    evaluation: Evaluation
    probes: list[ClassProbe]

    def as_dict(self) -> dict[str, Any]:
        """The evaluation's fields and the probes, as JSON types."""
        probes = [
            {**each._asdict(), "scores": {name: score._asdict() for name, score in each.scores.items()}}
            for each in self.probes
        ]
        return {**self.evaluation.model_dump(mode="json"), "probes": probes}


class EvaluationTexts(NamedTuple):
    """Tokenized texts.

    Attributes:
        documents: Held-out documents.
        examples: Documents of labelled texts.
        labels: The class of each example.
        special: Ids of tokens that are not text.
    """

    documents: list[Document]
    examples: list[Document]
    labels: list[str]
    special: frozenset[int]


def measure(
    plan: EvaluationPlan,
    entries: Sequence[str | list[Message]],
    rows: Sequence[Example],
    progress: Progress = SILENT,
) -> EvaluatedArtifact:
    """Measures an SAE on held-out texts, and probes its latents on labelled texts.

    Args:
        plan: What to measure.
        entries: Held-out texts or chats.
        rows: Labelled texts; if empty, nothing is probed.
        progress: Receives progress reports.

    Raises:
        ModelNotFound: The model's folder is not there or cannot be read.
        ArtifactNotFound: The folder holds no artifact.
        CorruptArtifact: The artifact's files are damaged.
        IncompatibleArtifact: The SAE reads a stream of another width than the model's.
        UnsupportedModel: The engine cannot read this model.
        InvalidInput: The texts cannot be read, or there are too few of a class.
    """
    artifact = open_artifact(plan.artifact.resolve())
    verify(artifact)
    with progress.phase("identifying the model"):
        identity = identify(plan.model, artifact.manifest.hook)
        check_fits(artifact, identity)
    if differing := artifact.manifest.model.differences(identity):
        known = ", ".join(differing)
        progress.say(f"note: this model is not known to be the one that the SAE was trained on: {known}")
    sae = Dictionary.load(artifact.weights)
    with progress.phase("loading the model"):
        host = load_host(plan.model, artifact.manifest.hook)
    texts = texts_of(plan.model, host.longest, plan.max_tokens, entries, rows, progress)
    fidelity = spliced(host, sae, texts, progress)
    del host
    torch.cuda.empty_cache()
    with Engines(plan.model, plan.engine, progress).reading(artifact.manifest.hook) as engine:
        activations, means = read(engine, sae, texts, progress)
    probes = probed(plan.probes, means, texts.labels, progress) if means is not None else []
    metrics = metrics_of(activations, fidelity, probes)
    evaluation = evaluation_of(artifact, identity, plan.text, texts.documents, metrics)
    return EvaluatedArtifact(evaluation, probes)


def texts_of(
    model: Path,
    longest: int,
    max_tokens: int | None,
    entries: Sequence[str | list[Message]],
    rows: Sequence[Example],
    progress: Progress,
) -> EvaluationTexts:
    """Tokenizes both kinds of texts. ``longest`` is the most tokens that the model takes at once."""
    tokenizer = AutoTokenizer.from_pretrained(model)
    # As the engine bounds it: by the model and its tokenizer, with room for one more.
    length = tokens_read(min(longest, tokenizer.model_max_length) - 1, max_tokens)
    examples, labels = tokenize_examples(tokenizer, rows, length) if rows else ([], [])
    made = tokenize(tokenizer, entries, length)
    if made.left_out:
        progress.say(made.left_out)
    if len(labels) < len(rows):
        progress.say(f"{len(rows) - len(labels):,} of {len(rows):,} labelled texts are left out")
    return EvaluationTexts(made.documents, examples, labels, special_ids(tokenizer))


def spliced(host: Host, sae: Dictionary, texts: EvaluationTexts, progress: Progress) -> Fidelity:
    with progress.work("splicing the SAE into the model", len(texts.documents), "documents") as work:
        return measure_splice(host, sae, texts.documents, texts.special, work)


def read(
    engine: Engine, sae: Dictionary, texts: EvaluationTexts, progress: Progress
) -> tuple[FeatureActivations, Means | None]:
    """The activations on the held-out documents, and the means of the examples, if there are any."""
    with progress.work("reading held-out documents", len(texts.documents), "documents") as work:
        activations = encode_documents(engine, sae, texts.documents, texts.special, progress=work)
    if not texts.examples:
        return activations, None
    with progress.work("reading labelled documents", len(texts.examples), "documents") as work:
        return activations, document_means(engine, sae, texts.examples, texts.special, progress=work)


def probed(config: ProbeConfig, means: Means, labels: Sequence[str], progress: Progress) -> list[ClassProbe]:
    with progress.phase("probing"):
        return probe(means, labels, config)


def metrics_of(activations: FeatureActivations, fidelity: Fidelity, probes: Sequence[ClassProbe]) -> dict[str, float]:
    """All metrics by name; a score that is not defined is left out."""
    quality = activations.quality
    scores: Mapping[str, float | None] = {"ce_score": fidelity.ce_score, "kl_score": fidelity.kl_score}
    metrics = {**quality.model_dump(), "fvu": quality.fvu, **fidelity.model_dump()}
    metrics |= {name: value for name, value in scores.items() if value is not None}
    metrics |= {f"density_1e{exponent}": share for exponent, share in decades(activations.density).items()}
    for name, score in mean_scores(probes).items():
        metrics |= {f"probe_{name}_{kind}": value for kind, value in score._asdict().items()}
    return metrics


def evaluation_of(
    artifact: Artifact,
    identity: ModelIdentity,
    text: str,
    documents: Sequence[Document],
    metrics: Mapping[str, float],
) -> Evaluation:
    return Evaluation(
        artifact=artifact.manifest.id,
        fingerprint=identity.whole,
        model=identity.name,
        text=text,
        text_hash=text_hash(documents),
        metrics=dict(metrics),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def store_evaluation(evaluation: Evaluation, store: Store) -> bool:
    """Stores an evaluation.

    Returns:
        False if the database does not have the artifact; nothing is stored then.
    """
    try:
        with store.write() as writer:
            writer.put_evaluation(evaluation)
    except ArtifactNotFound:
        return False
    return True
