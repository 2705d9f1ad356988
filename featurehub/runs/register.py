"""Names and statistics for an artifact's features, into the database before any strength is calibrated."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from featurehub.artifacts.artifact import Artifact
from featurehub.dictionary import Dictionary
from featurehub.engine.offline import Engine
from featurehub.records import Calibration, Cluster, FeatureRow, Labeled, Unlabeled
from featurehub.runs.baseline import EvaluatedSae
from featurehub.runs.progress import Progress
from featurehub.runs.survey import Survey, survey_features
from featurehub.store import FeatureSet, save_or_keep
from labeling.associations import Associations
from labeling.calibration import CalibrationConfig
from labeling.cluster_names import cluster_latents
from labeling.label import LabelConfig, LatentLabel, label_latents
from labeling.strength import Candidate, default_calibration, usual_dose

__all__ = ["LENIENT", "Description", "candidates_of", "describe", "labeled", "merits", "register", "register_unnamed"]

LENIENT = LabelConfig(max_unlabeled=1.0)
"""For runs with a budget of time, in which few documents may be read: these end in an SAE with the labels there are."""


class Description(NamedTuple):
    """What is known of an SAE's features before they are steered.

    Attributes:
        rows: Statistics, one row per live latent.
        labels: A label or the reason why there is none, for every live latent.
        candidates: The labelled features, as calibration takes them.
        median_norm: Median ‖x‖ of the stream at the SAE's hook point.
        words: The latents that go with each word.
        clusters: Latents that write alike.
    """

    rows: Sequence[FeatureRow]
    labels: list[LatentLabel]
    candidates: list[Candidate]
    median_norm: float
    words: Associations
    clusters: Sequence[Cluster] = ()


def describe(
    model: Path, engine: Engine, sae: EvaluatedSae, progress: Progress, config: LabelConfig | None = None
) -> Description:
    """Labels an SAE's live latents and computes their statistics.

    Args:
        model: Folder of the model, whose unembedding gives each feature's top tokens.
        engine: Its tokenizer gives the text of each token.
        sae: The SAE with its activations on held-out documents.
        progress: Receives progress reports; is warned if most latents stay without a label.
        config: How latents are labelled.

    Raises:
        BudgetExceeded: More latents stay without a label than the configuration allows.
    """
    survey = survey_features(model, engine, sae, progress)
    corpus, live, projection, tokens, neighbors = survey.source
    with progress.work("labelling", sae.dictionary.d_sae, "latents") as work:
        labels = label_latents(corpus, config, live=live, projection=projection, tokens=tokens, progress=work.at)
    warn_of_unlabelled(labels, len(corpus.documents), progress)
    found = candidates_of(sae.dictionary, labels)
    clusters = cluster_latents(sae.dictionary.W_dec.numpy(), neighbors, labeled(labels))
    return Description(survey.rows, labels, found, survey.median_norm, survey.words, clusters)


def labeled(labels: Sequence[LatentLabel]) -> dict[int, Labeled]:
    """The labels that were found, by latent."""
    return {each.latent: each.outcome for each in labels if isinstance(each.outcome, Labeled)}


def warn_of_unlabelled(labels: Sequence[LatentLabel], documents: int, progress: Progress) -> None:
    """Warns if most of the latents have no label.

    Args:
        labels: A label or a reason for each latent.
        documents: How many documents were read for them.
        progress: Hears the warning.
    """
    unlabelled = sum(isinstance(label.outcome, Unlabeled) for label in labels)
    if unlabelled > LabelConfig().max_unlabeled * len(labels):
        progress.warn(
            f"{unlabelled:,} of {len(labels):,} live latents have no label: in the {documents:,} documents that were "
            "read for them, no word tells better than chance where they fire. Search finds them by what they go with; "
            "`featurehub label` on more text may name more"
        )


def register(
    artifact: Artifact, described: Description, calibration: CalibrationConfig, database: str, progress: Progress
) -> None:
    """Registers an artifact with its features in one transaction. Each gets the usual dose, as one never steered.

    Args:
        artifact: The artifact, in its place.
        described: Its features.
        calibration: How strengths will be calibrated.
        database: Path of the feature database.
        progress: Receives progress reports.

    Raises:
        StoreError: The database cannot be written; the message says where the features were kept.
    """
    dose, norm = usual_dose([], calibration), described.median_norm
    strengths = {f.latent: default_calibration(f, dose, norm, calibration) for f in described.candidates}
    labels = {label.latent: (label.outcome, label.provenance) for label in described.labels}
    folder = artifact.folder.resolve()
    rows, words, clusters = described.rows, described.words, described.clusters
    write(FeatureSet(artifact.manifest, folder, rows, labels, strengths, words, clusters), database, progress)


def register_unnamed(artifact: Artifact, survey: Survey, database: str, progress: Progress) -> None:
    """Registers an artifact with its features in one transaction. Names and strengths that they have already stay.

    Args:
        artifact: The artifact, in its place.
        survey: Its features.
        database: Path of the feature database.
        progress: Receives progress reports.

    Raises:
        StoreError: The database cannot be written; the message says where the features were kept.
    """
    write(
        FeatureSet(artifact.manifest, artifact.folder.resolve(), survey.rows, {}, {}, survey.words), database, progress
    )


def write(features: FeatureSet, database: str, progress: Progress) -> None:
    """Raises StoreError."""
    with progress.phase("writing the database"):
        unregistered = save_or_keep(features, database, features.folder)
    if unregistered is not None:
        raise unregistered


def merits(labels: Sequence[LatentLabel], strengths: Mapping[int, Calibration]) -> dict[int, float]:
    """Merit by latent: of features that share a name, the one with the most keeps it without a suffix."""
    return {
        label.latent: (label.outcome.score or 0.0) * (1.0 + steerability(strengths.get(label.latent)))
        for label in labels
        if isinstance(label.outcome, Labeled)
    }


def steerability(calibration: Calibration | None) -> float:
    return 0.0 if calibration is None else calibration.steerability or 0.0


def candidates_of(dictionary: Dictionary, labels: Sequence[LatentLabel]) -> list[Candidate]:
    """The labelled ones among an SAE's features, as calibration takes them."""
    norms = dictionary.nudges.norm(dim=-1)
    return [
        Candidate(
            latent=label.latent,
            label=label.outcome.label,
            name=label.outcome.label.name,
            label_score=label.outcome.score or 0.0,
            norm=float(norms[label.latent]),
        )
        for label in labels
        if isinstance(label.outcome, Labeled)
    ]
