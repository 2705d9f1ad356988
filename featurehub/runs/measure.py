"""The measurements of `featurehub saes eval`, and where they are kept.

1. Cross-entropy and KL divergence, through transformers: the whole model, with the SAE spliced in.
2. Reconstruction and densities, through an engine of the layers up to the hook point.
3. Probes on labelled texts, through the same engine.

transformers comes first, since vLLM changes some of its classes when it runs on them.
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
from featurehub.cli.progress import console, phase, work
from featurehub.dictionary import Dictionary
from featurehub.engine.config import EngineConfig
from featurehub.engine.offline import Engine, EngineOptions
from featurehub.errors import ArtifactNotFound
from featurehub.records import Evaluation
from featurehub.runs.harvest import tokens_read
from featurehub.settings import Frozen
from featurehub.store import Store
from saes.activations import FeatureActivations, encode_documents
from saes.documents import Document, special_ids, text_hash, tokenize
from saes.evaluate import decades
from saes.host import load_host
from saes.labelled import Labelled, tokenize_labelled
from saes.probing import ClassProbe, Means, ProbeConfig, document_means, mean_scores, probe
from saes.splice import Fidelity, measure_splice
from saes.texts import Message

__all__ = ["EvaluationPlan", "Measured", "keep", "measure"]


class EvaluationPlan(Frozen):
    """text: what it is called;  max_tokens: as in a ``HarvestPlan``"""

    artifact: Path
    model: Path
    text: str
    max_tokens: int | None = None
    probes: ProbeConfig = ProbeConfig()
    engine: EngineOptions = EngineOptions()


class Measured(NamedTuple):
    """probes: by class; empty without labelled texts"""

    evaluation: Evaluation
    probes: list[ClassProbe]

    def as_dict(self) -> dict[str, Any]:
        """As JSON types."""
        probes = [
            {**each._asdict(), "scores": {name: score._asdict() for name, score in each.scores.items()}}
            for each in self.probes
        ]
        return {**self.evaluation.model_dump(mode="json"), "probes": probes}


class Texts(NamedTuple):
    """Held-out documents, labelled ones with their labels, and the tokens that are no text."""

    documents: list[Document]
    labelled: list[Document]
    labels: list[str]
    special: frozenset[int]


def measure(plan: EvaluationPlan, entries: Sequence[str | list[Message]], rows: Sequence[Labelled]) -> Measured:
    """Raises ModelNotFound, ArtifactNotFound, CorruptArtifact, IncompatibleArtifact, UnsupportedModel, InvalidInput."""
    artifact = open_artifact(plan.artifact.resolve())
    verify(artifact)
    with phase("identifying the model"):
        identity = identify(plan.model, artifact.manifest.hook)
        check_fits(artifact, identity)
    if differing := artifact.manifest.model.differences(identity):
        console.print(
            "[yellow]note[/yellow]: this model is not known to be the one that the SAE was trained on: "
            f"{', '.join(differing)}"
        )
    dictionary = Dictionary.load(artifact.weights)
    texts, fidelity = spliced(plan, artifact, dictionary, entries, rows)
    activations, means = read(plan, artifact, dictionary, texts)
    probes = probed(plan, means, texts.labels) if means is not None else []
    metrics = metrics_of(activations, fidelity, probes)
    return Measured(evaluation_of(plan, artifact, identity, texts.documents, metrics), probes)


def spliced(
    plan: EvaluationPlan,
    artifact: Artifact,
    dictionary: Dictionary,
    entries: Sequence[str | list[Message]],
    rows: Sequence[Labelled],
) -> tuple[Texts, Fidelity]:
    with phase("loading the model"):
        host = load_host(plan.model, artifact.manifest.hook)
        tokenizer = AutoTokenizer.from_pretrained(plan.model)
    # As the engine bounds it: by the model and its tokenizer, with room for one more.
    length = tokens_read(min(host.longest, tokenizer.model_max_length) - 1, plan.max_tokens)
    labelled, labels = tokenize_labelled(tokenizer, rows, length) if rows else ([], [])
    texts = Texts(list(tokenize(tokenizer, entries, length)), labelled, labels, special_ids(tokenizer))
    with work("splicing the SAE into the model", len(texts.documents), "documents") as bar:
        fidelity = measure_splice(host, dictionary, texts.documents, texts.special, bar)
    del host
    torch.cuda.empty_cache()
    return texts, fidelity


def read(
    plan: EvaluationPlan, artifact: Artifact, dictionary: Dictionary, texts: Texts
) -> tuple[FeatureActivations, Means | None]:
    """What the features do on the documents; of labelled ones, their means."""
    with phase("starting the engine"):
        engine = Engine(plan.model, EngineConfig.capturing(artifact.manifest.hook, truncated=True), plan.engine)
    with engine:
        with work("reading held-out documents", len(texts.documents), "documents") as bar:
            activations = encode_documents(engine, dictionary, texts.documents, texts.special, progress=bar)
        if not texts.labelled:
            return activations, None
        with work("reading labelled documents", len(texts.labelled), "documents") as bar:
            return activations, document_means(engine, dictionary, texts.labelled, texts.special, progress=bar)


def probed(plan: EvaluationPlan, means: Means, labels: Sequence[str]) -> list[ClassProbe]:
    with phase("probing"):
        return probe(means, labels, plan.probes)


def metrics_of(activations: FeatureActivations, fidelity: Fidelity, probes: Sequence[ClassProbe]) -> dict[str, float]:
    """By name; a score that is not defined is left out."""
    quality = activations.quality
    scores: Mapping[str, float | None] = {"ce_score": fidelity.ce_score, "kl_score": fidelity.kl_score}
    metrics = {**quality.model_dump(), "fvu": quality.fvu, **fidelity.model_dump()}
    metrics |= {name: value for name, value in scores.items() if value is not None}
    metrics |= {f"density_1e{exponent}": share for exponent, share in decades(activations.density).items()}
    for name, score in mean_scores(probes).items():
        metrics |= {f"probe_{name}_{kind}": value for kind, value in score._asdict().items()}
    return metrics


def evaluation_of(
    plan: EvaluationPlan,
    artifact: Artifact,
    identity: ModelIdentity,
    documents: Sequence[Document],
    metrics: Mapping[str, float],
) -> Evaluation:
    return Evaluation(
        artifact=artifact.manifest.id,
        fingerprint=identity.whole,
        model=identity.name,
        text=plan.text,
        text_hash=text_hash(documents),
        metrics=dict(metrics),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def keep(evaluation: Evaluation, store: Store) -> bool:
    """Stores it; False where the database does not have the artifact."""
    try:
        with store.write() as writer:
            writer.put_evaluation(evaluation)
    except ArtifactNotFound:
        return False
    return True
