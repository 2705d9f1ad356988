"""What is known of an SAE's features before any of them has a name: statistics, words they go with, label material."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from featurehub.artifacts.manifest import HookPoint, Site
from featurehub.dictionary import Dictionary
from featurehub.engine.offline import Engine
from featurehub.errors import UnsupportedModel
from featurehub.pieces import pieces, vocabulary
from featurehub.records import FeatureRow
from featurehub.runs.baseline import EvaluatedSae
from featurehub.runs.progress import Progress
from featurehub.template import TemplateTokens
from featurehub.token_ids import special_ids
from labeling.associations import Associations, associate
from labeling.corpus import Corpus
from labeling.label import LabelSource
from labeling.logit_lens import Projection, project
from labeling.statistics import PackedRows, StatisticsConfig, feature_rows
from labeling.texts import PackedTexts
from labeling.unembedding import Unembedding, read_unembedding, written_into
from saes.activations import FeatureActivations

__all__ = ["Survey", "corpus_of", "evidence_of", "promoted", "survey_features"]


class Survey(NamedTuple):
    """Features without names.

    Attributes:
        rows: Statistics, one row per live latent.
        source: What labels are made from.
        words: The latents that go with each word.
        median_norm: Median ‖x‖ of the stream at the SAE's hook point.
    """

    rows: Sequence[FeatureRow]
    source: LabelSource
    words: Associations
    median_norm: float


def survey_features(model: Path, engine: Engine, sae: EvaluatedSae, progress: Progress) -> Survey:
    """Computes the statistics of an SAE's live latents, and gathers what their labels are made from.

    Args:
        model: Folder of the model, whose unembedding gives each feature's top tokens.
        engine: Its tokenizer gives the text of each token.
        sae: The SAE with its activations on held-out documents.
        progress: Receives progress reports.
    """
    seen, dictionary = sae.activations, sae.dictionary
    corpus = corpus_of(seen, engine.tokenizer)
    single, evidence = evidence_of(corpus, seen, engine.tokenizer)
    unembedding, tokens = unembedding_of(model, progress), vocabulary(engine.tokenizer)
    hook = engine.config.hooks[0].point
    projection = None if unembedding is None else promoted(model, hook, dictionary, unembedding, tokens, progress)
    with progress.phase("computing statistics"):
        W_dec = dictionary.W_dec.numpy()
        rows = PackedRows(feature_rows(corpus, seen.tokens, W_dec, projection, StatisticsConfig()))
    with progress.phase("finding what words go with"):
        words = associate(evidence, tokens, None if unembedding is None else unembedding.weight)
    neighbors = {row.latent: row.neighbors for row in rows}
    return Survey(rows, LabelSource(evidence, corpus.live, projection, single, neighbors), words, seen.median_norm)


def promoted(
    model: Path, hook: HookPoint, dictionary: Dictionary, head: Unembedding, tokens: Sequence[str], progress: Progress
) -> Projection | None:
    """What each feature promotes, through the output projection of its layer if it writes before one; None, with a
    warning, where there is no one way from there into the stream."""
    try:
        rows = written_into(model, hook, dictionary.nudges.numpy())
    except UnsupportedModel as error:
        progress.warn(f"features get no top tokens: {error.message}")
        return None
    return project(rows, unchanged if hook.site is Site.FINAL_NORM else head.norm, head.weight, tokens)


def unchanged(rows: np.ndarray) -> np.ndarray:
    """What lies behind the final norm is read out as it is."""
    return rows


def corpus_of(seen: FeatureActivations, tokenizer: Any) -> Corpus:
    """The documents as texts, with what the features do in them."""
    texts = PackedTexts(pieces(tokenizer, document.token_ids) for document in seen.documents)
    return Corpus(texts, seen.matrix, seen.offsets)


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


def unembedding_of(model: Path, progress: Progress) -> Unembedding | None:
    """How the model turns its stream into logits; None, with a warning, if its final norm or head is not found."""
    try:
        return read_unembedding(model)
    except UnsupportedModel as error:
        progress.warn(f"features get no top tokens: {error.message}")
        return None
