"""Clusters of an SAE's latents, each with a name that its labels give it.

1. Latents that write alike are clustered (``labeling.communities``).
2. Of N labels, n have the word w; of the k labels in a cluster, x have it. By chance that many or more have it with

       p = P(X ≥ x),   X hypergeometric: k drawn of N without putting back, n of which have w

   The word is shared beyond chance if x ≥ 2 and p times the number of words in the cluster is below ``CHANCE``
   (Bonferroni). So no list of stop words is needed.
3. A cluster is called by its ``WORDS`` most telling such words, lowest p first. Where it has none, it is called by the
   names of its ``NAMES`` best labels. One without any label has no name.
4. No two clusters have one name: the larger keeps it, the others get a word more (``labeling.heads``).
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy.stats import hypergeom

from featurehub.records import Cluster, Label, Labeled
from labeling.communities import communities, edges_of
from labeling.heads import unique_heads
from labeling.words import words_in

__all__ = ["cluster_latents", "shared_words"]

CHANCE, WORDS, NAMES = 0.01, 3, 2


def cluster_latents(
    W_dec: np.ndarray, neighbors: Mapping[int, Sequence[int]], labels: Mapping[int, Labeled]
) -> list[Cluster]:
    """The clusters of an SAE, by their lowest latent. The same input gives the same clusters.

    Args:
        W_dec: [d_sae, d_model] decoder rows.
        neighbors: By live latent, those with the most similar decoder rows.
        labels: By latent, for those that have one.
    """
    groups = communities(edges_of(W_dec, neighbors))
    names = names_of(groups, labels)
    return [Cluster(name=names.get(at, ""), latents=each) for at, each in enumerate(groups)]


def names_of(groups: Sequence[tuple[int, ...]], labels: Mapping[int, Labeled]) -> dict[int, str]:
    """Steps 2 to 4: names by the group's place, where it has labels."""
    words = {latent: frozenset(words_in(each.label.text)) for latent, each in labels.items()}
    often = Counter(word for each in words.values() for word in each)
    found: dict[int, Label] = {}
    for at, group in enumerate(groups):
        named = sorted(
            (each for each in group if each in labels), key=lambda each: (-(labels[each].score or 0.0), each)
        )
        if named:
            shared = shared_words([words[each] for each in named], often, len(labels))
            best = list(dict.fromkeys(labels[each].label.name for each in named))
            further = tuple(best if shared else best[NAMES:])
            found[at] = Label(name=", ".join(shared or best[:NAMES]), further=further)
    unique = unique_heads(found, {at: float(len(groups[at])) for at in found})
    return {at: each.head for at, each in unique.items()}


def shared_words(labels: Sequence[frozenset[str]], often: Mapping[str, int], count: int) -> list[str]:
    """The words that labels share beyond chance, the most telling first.

    Args:
        labels: The words of each label of a cluster.
        often: In how many of all labels each word is.
        count: How many labels there are in all.
    """
    shared = Counter(word for each in labels for word in each)
    chance: dict[str, Any] = {
        word: hypergeom.sf(x - 1, count, often[word], len(labels)) for word, x in shared.items() if x > 1
    }
    telling = [word for word, p in chance.items() if p * len(shared) < CHANCE]
    return sorted(telling, key=lambda word: (chance[word], -shared[word], word))[:WORDS]
