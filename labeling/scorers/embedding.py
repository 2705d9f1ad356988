"""Embedding AUROC: how much nearer to the label the contexts lie in which the latent fires.

The score is the probability that a firing context lies nearer to the label, by the cosine of their embeddings, than a
quiet one; .5 by chance. Contexts are drawn as in ``labeling.scorers.detection``. No language model is asked.
"""

from collections.abc import Callable, Sequence

import numpy as np

from featurehub.records import Label, Unlabeled
from labeling.evidence import Evidence
from labeling.examiner import HeldOut, Score
from labeling.intervals import auroc_interval
from labeling.scorers.detection import score_of

__all__ = ["Embed", "EmbeddingScorer"]

Embed = Callable[[Sequence[str]], np.ndarray]
"""Texts to vectors, [texts, dimensions]."""
CONTEXTS = 30


class EmbeddingScorer:
    """Scores a label by an embedding.

    Attributes:
        name: "embedding".
    """

    name = "embedding"

    def __init__(self, embed: Embed, contexts: int = CONTEXTS) -> None:
        self.embed, self.count = embed, contexts

    async def score(self, label: Label, evidence: Evidence, held_out: HeldOut) -> Score | Unlabeled:
        """The AUROC on held-out contexts; Unlabeled where there are none of one kind."""
        latent, contexts = evidence.latent, held_out.contexts
        firing = contexts.firing(latent, self.count, evidence.level)
        quiet = contexts.quiet(latent, self.count, held_out.neighbors.get(latent, ()))
        if not firing or not quiet:
            return Unlabeled(reason="there are no held-out contexts of both kinds to judge its label by embedding")
        vectors = np.asarray(self.embed([label.text, *(each.text for each in (*firing, *quiet))]), np.float64)
        vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
        truth = np.arange(len(vectors) - 1) < len(firing)
        return score_of(self.name, auroc_interval(vectors[1:] @ vectors[0], truth, latent), truth)
