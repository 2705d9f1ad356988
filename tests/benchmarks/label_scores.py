"""How good labels are: how well they tell where their latents fire, and what a search by them finds."""

import tempfile
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import numpy as np
from concept_file import Concept
from unseen import Unseen

from featurehub.artifacts.artifact import Artifact
from featurehub.records import FeatureRow, Label
from featurehub.sparse import columns_of
from featurehub.store import FeatureSet, open_store, save_feature_set
from labeling.associations import Associations
from labeling.corpus import Corpus, peak_levels, pool
from labeling.cutting import cut
from labeling.examiner import ScoredExplanation
from labeling.explainers import NgramExplainer
from labeling.label import LabelConfig, concluded
from labeling.scoring import WordScorer, auroc, detection
from labeling.units import STRONG

__all__ = ["READS", "Detector", "Found", "Registry", "firing_levels", "label_of", "labelled", "reads", "search"]

READS = 0.8
TOP = 5
DEALS = 4
MIN_FIRING = LabelConfig().min_passages
Found = dict[int, ScoredExplanation]
"""Labels by latent, with their scores on documents that helped to choose them."""


class Registry(NamedTuple):
    """What is registered beside labels: nothing but bare rows, or all that the product has."""

    artifact: Artifact
    rows: list[FeatureRow]
    words: Associations


def labelled(found: Found) -> Found:
    """Those that have a label."""
    return {latent: each for latent, each in found.items() if isinstance(each.explanation.outcome, Label)}


def firing_levels(corpus: Corpus) -> np.ndarray:
    """[d_sae] activation from which each latent counts as firing, as in ``labeling.units``."""
    pieces = cut(corpus)
    return peak_levels(pool(columns_of(corpus.matrix), pieces.passage_of, len(pieces.texts)), STRONG) / 2


class Detector:
    """Scores labels on the sentences of a corpus. A latent that fires in too few of them is not tested.

    Args:
        corpus: Documents that made no label.
        live: The latents.
        levels: [d_sae] activation from which each latent counts as firing.
    """

    def __init__(self, corpus: Corpus, live: Sequence[int], levels: np.ndarray) -> None:
        pieces = cut(corpus)
        self.live, self.scorer = live, WordScorer()
        self.sentences = [" ".join(words) for words in pieces.words]
        peaks = pool(columns_of(corpus.matrix), pieces.sentence_of, len(self.sentences))
        self.fires = {latent: peaks[:, [latent]].toarray().ravel() >= levels[latent] for latent in live}
        self.tested = np.array([MIN_FIRING <= fires.sum() < len(fires) for fires in self.fires.values()])

    def scores(self, found: Found) -> tuple[np.ndarray, np.ndarray]:
        """[live] balanced accuracy and AUROC; NaN without a label, or where the latent is not tested."""
        both = np.full((2, len(self.live)), np.nan)
        for at, latent in enumerate(self.live):
            if self.tested[at] and latent in found:
                scores = self.scorer.scores(label_of(found[latent]), self.sentences)
                scored = detection(scores, self.fires[latent])
                both[:, at] = scored["balanced_accuracy"], scored["auroc"]
        return both[0], both[1]

    def dealt(self, found: Found) -> np.ndarray:
        """[live] mean AUROC of the labels of other latents; NaN without a label."""
        latents, rng = sorted(found), np.random.default_rng(0)
        orders = [rng.permutation(latents).tolist() for _ in range(DEALS)]
        hands = [{i: found[other] for i, other in zip(latents, order, strict=True)} for order in orders]
        return np.mean([self.scores(hand)[1] for hand in hands], axis=0)


def label_of(scored: ScoredExplanation) -> Label:
    outcome = scored.explanation.outcome
    assert isinstance(outcome, Label)
    return outcome


def reads(unseen: Unseen, concepts: Sequence[Concept]) -> np.ndarray:
    """[concepts, d_sae]: AUROC of each latent's mean activation, positive against negative snippets."""
    means, found, at = unseen.snippet_means(), [], 0
    for concept in concepts:
        positive, total = len(concept.positives), len(concept.positives) + len(concept.negatives)
        truth = np.arange(total) < positive
        found.append([auroc(column, truth) for column in means[at : at + total].T])
        at += total
    return np.array(found)


def search(found: Found, registry: Registry, concepts: Sequence[Concept], reading: np.ndarray) -> np.ndarray:
    """[concepts, queries, 2]: whether the first feature found reads the concept, and whether any of the top ones does.

    Args:
        found: Labels.
        registry: What is registered with them, in a database of its own.
        concepts: What is searched for.
        reading: As ``reads`` gives it.
    """
    labels = {each.latent: (each.outcome, each.provenance) for each in concluded(found, NgramExplainer(), "benchmark")}
    manifest = registry.artifact.manifest
    features = FeatureSet(manifest, registry.artifact.folder, registry.rows, labels, {}, registry.words)
    with tempfile.TemporaryDirectory() as folder:
        database = Path(folder, "labels.db")
        save_feature_set(features, database)
        with closing(open_store(database)) as store, store.read() as reader:
            scope = reader.scope(manifest.id)
            hits = [
                [[each.latent for each in reader.search(q, scope, TOP).features] for q in concept.queries]
                for concept in concepts
            ]
    return np.array(
        [
            [[float(any(own[latent] >= READS for latent in each[:top])) for top in (1, TOP)] for each in of_concept]
            for own, of_concept in zip(reading, hits, strict=True)
        ]
    )
