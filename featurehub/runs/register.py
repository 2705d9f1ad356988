"""Names and statistics for an artifact's features, into the database before any strength is calibrated."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from featurehub.artifacts.artifact import Artifact
from featurehub.dictionary import Dictionary
from featurehub.engine.offline import Engine
from featurehub.errors import UnsupportedModel
from featurehub.names import base_of
from featurehub.pieces import pieces, vocabulary
from featurehub.records import Calibration, FeatureRow, Labeled, Unlabeled
from featurehub.runs.baseline import EvaluatedSae
from featurehub.runs.progress import Progress
from featurehub.store import FeatureSet, save_or_keep
from labeling.associations import Associations, associate
from labeling.calibration import CalibrationConfig
from labeling.corpus import Corpus
from labeling.label import LabelConfig, LatentLabel, label_latents
from labeling.logit_lens import project
from labeling.statistics import StatisticsConfig, feature_rows
from labeling.strength import Candidate, default_calibration, usual_dose
from labeling.unembedding import Unembedding, read_unembedding
from saes.activations import FeatureActivations
from saes.documents import special_ids
from saes.template import TemplateTokens

__all__ = ["LENIENT", "Description", "candidates_of", "corpus_of", "describe", "merits", "register"]

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
    """

    rows: list[FeatureRow]
    labels: list[LatentLabel]
    candidates: list[Candidate]
    median_norm: float
    words: Associations


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
    seen = sae.activations
    corpus = corpus_of(seen, engine.tokenizer)
    single, evidence = evidence_of(corpus, seen, engine.tokenizer)
    unembedding, tokens = unembedding_of(model, progress), vocabulary(engine.tokenizer)
    projection = None
    if unembedding is not None:
        projection = project(sae.dictionary.nudges.numpy(), unembedding.norm, unembedding.weight, tokens)
    with progress.work("labelling", sae.dictionary.d_sae, "latents") as work:
        labels = label_latents(
            evidence, config, live=corpus.live, projection=projection, tokens=single, progress=work.at
        )
    unlabelled = sum(isinstance(label.outcome, Unlabeled) for label in labels)
    if unlabelled > LabelConfig().max_unlabeled * len(labels):
        progress.warn(
            f"{unlabelled:,} of {len(labels):,} live latents have no label: in the {len(seen.documents):,} documents "
            "that were read for them, no word tells better than chance where they fire. Search finds them by what they "
            "go with; `featurehub label` on more text may name more"
        )
    with progress.phase("computing statistics"):
        W_dec = sae.dictionary.W_dec.numpy()
        rows = list(feature_rows(corpus, seen.tokens, W_dec, projection, StatisticsConfig()))
    with progress.phase("finding what words go with"):
        words = associate(evidence, tokens, None if unembedding is None else unembedding.weight)
    return Description(rows, labels, candidates_of(sae.dictionary, labels), seen.median_norm, words)


def corpus_of(seen: FeatureActivations, tokenizer: Any) -> Corpus:
    """The documents as texts, with what the features do in them."""
    return Corpus([pieces(tokenizer, d.token_ids) for d in seen.documents], seen.matrix, seen.offsets)


def evidence_of(corpus: Corpus, seen: FeatureActivations, tokenizer: Any) -> tuple[Corpus, Corpus]:
    """What labels are made from, without what the chat template adds to every chat.

    Returns:
        The corpus with the activations on single tokens, and the one with those that labels explain: of an SAE of
        spans, on the mean around each token.
    """
    template = TemplateTokens.of(tokenizer, special_ids(tokenizer))
    mask = np.concatenate([template.mask(document.token_ids) for document in seen.documents])
    tokens = corpus.without(mask)
    return tokens, tokens if seen.around is None else corpus._replace(matrix=seen.around).without(mask)


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
    with progress.phase("writing the database"):
        folder, words = artifact.folder.resolve(), described.words
        features = FeatureSet(artifact.manifest, folder, described.rows, labels, strengths, words)
        unregistered = save_or_keep(features, database, artifact.folder)
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


def unembedding_of(model: Path, progress: Progress) -> Unembedding | None:
    """How the model turns its stream into logits; None, with a warning, if its final norm or head is not found."""
    try:
        return read_unembedding(model)
    except UnsupportedModel as error:
        progress.warn(f"features get no top tokens: {error.message}")
        return None


def candidates_of(dictionary: Dictionary, labels: Sequence[LatentLabel]) -> list[Candidate]:
    """The labelled ones among an SAE's features, as calibration takes them."""
    norms = dictionary.nudges.norm(dim=-1)
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
