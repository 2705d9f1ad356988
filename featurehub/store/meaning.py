"""What a query means: the features whose vectors are near, and those that it names, which always come before them."""

from collections.abc import Collection, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from sqlalchemy.orm import Session

from featurehub.records import SearchFilter
from featurehub.store.embeddings import EmbeddingKind, load_vectors
from featurehub.store.found import Hit
from featurehub.store.fuse import CERTAIN, Meant
from featurehub.store.near import Near, QueryVector
from featurehub.store.nearest import check_embedders, nearest_of_each

__all__ = ["near_features", "true_names"]

NEAR = 100
FAINT = 0.2
"""Features that are looked at of each kind of vector, if their cosine is ``FAINT`` or more: below, it says nothing."""


def true_names(
    words: Sequence[str], hits: Sequence[Hit], holding: Collection[str], going: Mapping[str, float]
) -> set[str]:
    """Ids of the features that are meant for sure.

    Args:
        words: The words of the query.
        hits: What words found.
        holding: Ids of the features with all words in the head of a name.
        going: How surely features go with the words, by id; those that go with all of them count.
    """
    named = {hit.id for hit in hits if hit.source == "exact"}.union(holding)
    if not {hit.name for hit in hits if hit.source == "word"}.issuperset(words):
        return named  # Of "songs and instruments", what goes with "and" alone has nothing to do with the others.
    return named | {id for id, each in going.items() if each >= CERTAIN}


def near_features(
    session: Session, vector: QueryVector, saes: Sequence[str], only: SearchFilter, among: Sequence[str] | None = None
) -> Meant:
    """The features whose vectors are near, by kind; empty where no vector is.

    Args:
        session: A session that reads.
        vector: What they are to be near to.
        saes: Ids of the SAEs to look in.
        only: Which features may be found.
        among: Ids of the only features that are looked at, whatever ``saes`` and ``only`` say; None for all.

    Raises:
        EmbedderMismatch: One of the SAEs was embedded by another embedder.
    """
    if among is None:
        embedded = check_embedders(session, vector, saes)
        near = nearest_of_each(session, vector.vector, embedded, NEAR, tuple(EmbeddingKind), only)
    else:
        near = {kind: _by_similarity(vector, own) for kind, own in load_vectors(session, among).items()}
    alike = {kind: [each for each in found if each.similarity >= FAINT] for kind, found in near.items()}
    return {kind: found for kind, found in alike.items() if found}


def _by_similarity(vector: QueryVector, own: Mapping[str, NDArray[np.float32]]) -> list[Near]:
    found = (Near(id, float(each @ vector.vector)) for id, each in own.items())
    return sorted(found, key=lambda each: (-each.similarity, each.id))
