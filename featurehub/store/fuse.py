"""One relevance from what several sources say: names, words, texts, and vectors of labels, tokens and contexts.

1. Fused rank (reciprocal rank fusion, Cormack et al. 2009): the sum of 1 / (60 + place) over the lists that a feature
   is in, divided by the largest such sum. It needs no scale that the sources share.
2. Relevance by meaning: ``MEANS`` x the cosine of the label's vector with the query's, and ``SHOWS`` x that of the
   tokens' or contexts', which say what a feature does and not what it is called.
3. A *true name* has all words of the query in its head; what goes with all of them as surely (``CERTAIN`` or more)
   counts as one. Its relevance is the best of its relevances, and ``rank`` puts it before all that is only guessed.
4. What is *guessed* has the best of its relevances, that by words halved (``PARTLY``): a name with some of a sentence's
   words says less than meaning does. It counts up to ``AGREEMENT`` less by its fused rank: what one source alone finds
   is less sure than what several find.

Measured on labels of other explainers (``tests/benchmarks/search.py``): fused rank alone finds fewer than meaning does.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence

from featurehub.store.embeddings import EmbeddingKind
from featurehub.store.near import Near

__all__ = ["CERTAIN", "fuse", "reciprocal"]

STEADY = 60
"""The constant of reciprocal rank fusion, as published."""
MEANS = 0.75
SHOWS = 0.5
CERTAIN = 0.45
PARTLY = 0.5
AGREEMENT = 0.1

Meant = Mapping[EmbeddingKind, Sequence[Near]]
"""The features whose vectors are near, nearest first, by whose vectors."""


def fuse(named: Mapping[str, float], meant: Meant, true: Collection[str]) -> dict[str, float]:
    """Relevance in [0, 1] of every feature that was found.

    Args:
        named: Relevance by names, words and texts, by the feature's id.
        meant: What was found by meaning.
        true: Ids of the features with a true name.

    Returns:
        By the feature's id.
    """
    by_name = sorted(named, key=lambda id: (-named[id], id))
    agreed = reciprocal([by_name, *([near.id for near in each] for each in meant.values())])
    best = {id: each if id in true else PARTLY * each for id, each in named.items()}
    for kind, found in meant.items():
        scale = MEANS if kind is EmbeddingKind.LABEL else SHOWS
        for near in found:
            best[near.id] = max(best.get(near.id, 0.0), scale * max(0.0, min(1.0, near.similarity)))
    return {id: each if id in true else each * (1 - AGREEMENT + AGREEMENT * agreed[id]) for id, each in best.items()}


def reciprocal(lists: Iterable[Sequence[str]]) -> dict[str, float]:
    """The fused rank of all that is in the lists, in (0, 1]; 1 for the best."""
    sums: defaultdict[str, float] = defaultdict(float)
    for each in lists:
        for place, id in enumerate(each, start=1):
            sums[id] += 1 / (STEADY + place)
    most = max(sums.values(), default=1.0)
    return {id: value / most for id, value in sums.items()}
