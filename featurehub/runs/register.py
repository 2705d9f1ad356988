"""The second half of a build: names, statistics and strengths for an artifact's features, into the database."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

from featurehub.artifacts.artifact import open_artifact
from featurehub.dictionary import Dictionary
from featurehub.engine.offline import Engine
from featurehub.errors import StoreError, UnsupportedModel
from featurehub.names import base_of
from featurehub.runs.baseline import EvaluatedSae
from featurehub.runs.progress import Progress
from featurehub.store import Calibration, FeatureSet, Labeled, save_or_keep
from labeling.corpus import Corpus
from labeling.label import LatentLabel, label_latents, rename
from labeling.logit_lens import Projection, project
from labeling.statistics import StatisticsConfig, feature_rows
from labeling.strength import CalibrationConfig, Candidate, SteeringJudge, calibrate
from labeling.unembedding import read_unembedding
from saes.documents import pieces, prompt_ids
from saes.drift.check import Judge
from saes.texts import Message

__all__ = ["BuildJudge", "Registration", "register"]


class BuildJudge(Judge, SteeringJudge, Protocol):
    """Judges labels for both drift and calibration. Its name is kept, so that later checks ask the same judge."""

    @property
    def name(self) -> str:
        """The name under which ``featurehub.runs.judges.judge_called`` finds it."""
        ...


class Registration(NamedTuple):
    """Where an artifact's features are registered, and how they are calibrated.

    Attributes:
        model: Folder of the model, whose unembedding gives each feature's top tokens.
        out: The folder in which the artifact will lie.
        database: Path of the feature database.
        calibration: How strengths are calibrated.
        judge: Judges whether an answer shows what a label names.
        prompts: The prompts that strengths are calibrated on.
    """

    model: Path
    out: Path
    database: str
    calibration: CalibrationConfig
    judge: BuildJudge
    prompts: Sequence[str | list[Message]]


def register(
    registration: Registration, engine: Engine, folder: Path, sae: EvaluatedSae, progress: Progress
) -> StoreError | None:
    """Labels and calibrates an artifact's features, and writes them to the database in one transaction.

    Args:
        registration: Where the features go, and how they are calibrated.
        engine: Steers with the artifact's SAE.
        folder: The sealed artifact, which may still lie in a temporary folder.
        sae: The SAE with its activations on held-out documents.
        progress: Receives progress reports.

    Returns:
        None, or the error that says why the database could not be written and where the features were kept; raise it
        once the folder is in place.
    """
    artifact = open_artifact(folder)
    prompts = [prompt_ids(engine.tokenizer, prompt) for prompt in registration.prompts]
    seen = sae.activations
    corpus = Corpus([pieces(engine.tokenizer, d.token_ids) for d in seen.documents], seen.matrix, seen.offsets)
    with progress.phase("labelling"):
        projection = projected(registration.model, engine, sae.dictionary, progress)
        labels = label_latents(corpus, projection=projection)
        W_dec = sae.dictionary.W_dec.numpy()
        rows = list(feature_rows(corpus, seen.tokens, W_dec, projection, StatisticsConfig()))
    strengths = calibrated(registration, engine, sae, labels, prompts, progress)
    labels = rename(labels, merits(labels, strengths))
    found = {label.latent: (label.outcome, label.provenance) for label in labels}
    with progress.phase("writing the database"):
        features = FeatureSet(artifact.manifest, registration.out.resolve(), rows, found, strengths)
        return save_or_keep(features, registration.database, artifact.folder)


def merits(labels: Sequence[LatentLabel], strengths: dict[int, Calibration]) -> dict[int, float]:
    """Merit by latent: of features that share a name, the one with the most keeps it without a suffix."""
    return {
        label.latent: (label.outcome.score or 0.0) * (1.0 + (strengths[label.latent].steerability or 0.0))
        for label in labels
        if isinstance(label.outcome, Labeled)
    }


def projected(model: Path, engine: Engine, dictionary: Dictionary, progress: Progress) -> Projection | None:
    """What each decoder row writes; None, with a warning, if the model's final norm or head is not found."""
    try:
        unembedding = read_unembedding(model)
    except UnsupportedModel as error:
        progress.warn(f"features get no top tokens: {error.message}")
        return None
    tokens = engine.tokenizer.convert_ids_to_tokens(list(range(len(engine.tokenizer))))
    return project(dictionary.W_dec.numpy(), unembedding.norm, unembedding.weight, tokens)


def calibrated(
    registration: Registration,
    engine: Engine,
    sae: EvaluatedSae,
    labels: Sequence[LatentLabel],
    prompts: Sequence[list[int]],
    progress: Progress,
) -> dict[int, Calibration]:
    features, norm = candidates(sae.dictionary, labels), sae.activations.median_norm
    with progress.work("calibrating strengths by steering", 1) as work:
        return calibrate(engine, features, prompts, norm, registration.judge, registration.calibration, work.at)


def candidates(dictionary: Dictionary, labels: Sequence[LatentLabel]) -> list[Candidate]:
    norms = dictionary.W_dec.norm(dim=-1)
    return [
        Candidate(
            latent=label.latent,
            label=label.outcome.label,
            name=base_of(label.outcome.label),
            label_score=label.outcome.score or 0.0,
            norm=float(norms[label.latent]),
        )
        for label in labels
        if isinstance(label.outcome, Labeled)
    ]
