"""The features whose vectors are nearest to one: exactly on SQLite, with an index on PostgreSQL."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from sqlalchemy.orm import Session

from featurehub.errors import EmbedderMismatch
from featurehub.records import SearchFilter
from featurehub.store.directory import load_directory
from featurehub.store.embeddings import EmbeddedBy, EmbeddingKind, embedders_of
from featurehub.store.near import Near, QueryVector
from featurehub.store.nearest_postgres import nearest_in_index
from featurehub.store.nearest_sqlite import nearest_in_memory

__all__ = ["EVERY", "check_embedders", "nearest", "nearest_of_each"]

EVERY = SearchFilter()
NEAREST = {"sqlite": nearest_in_memory, "postgresql": nearest_in_index}


def check_embedders(session: Session, query: QueryVector, saes: Sequence[str]) -> dict[str, EmbeddedBy]:
    """Refuses to compare a query with the vectors of another embedder.

    Returns:
        Where the vectors of the SAEs come from, by id; those never embedded are left out.

    Raises:
        EmbedderMismatch: One of the SAEs (by id) was embedded by another; the message says how to embed it again.
    """
    found = embedders_of(session, saes)
    for sae, embedded in found.items():
        if (embedded.embedder, embedded.dimensions) != (query.embedder, len(query.vector)):
            name = load_directory(session).artifacts[sae].name
            raise EmbedderMismatch(
                f"the features of {name!r} were embedded by {embedded.embedder}, and the query by {query.embedder}: "
                f"vectors of two embedders cannot be compared. Embed them again with `featurehub features embed --sae "
                f"{name} --embedder {query.embedder}`, or set $FEATUREHUB_EMBEDDER to {embedded.embedder}"
            )
    return found


def nearest(
    session: Session, vector: NDArray[np.float32], saes: Sequence[str], k: int, kind: EmbeddingKind,
    only: SearchFilter = EVERY,
) -> list[Near]:  # fmt: skip
    """The features whose vectors are nearest.

    Args:
        session: A session that reads.
        vector: ``[dimensions]``, of length 1.
        saes: Ids of the SAEs to look in; those that were not embedded are passed over.
        k: How many features at most.
        kind: Which of their vectors.
        only: Which features may be found.

    Returns:
        At most ``k``, nearest first; equal ones by id.
    """
    return nearest_of_each(session, vector, embedders_of(session, saes), k, [kind], only)[kind]


def nearest_of_each(
    session: Session, vector: NDArray[np.float32], embedded: Mapping[str, EmbeddedBy], k: int,
    kinds: Sequence[EmbeddingKind], only: SearchFilter = EVERY,
) -> dict[EmbeddingKind, list[Near]]:  # fmt: skip
    """The features whose vectors of each kind are nearest, in those SAEs that were embedded; see ``nearest``."""
    if not embedded:
        return {kind: [] for kind in kinds}
    find = NEAREST[session.get_bind().dialect.name]
    found = {kind: find(session, vector, embedded, k, kind, only) for kind in kinds}
    return {kind: sorted(near, key=lambda each: (-each.similarity, each.id))[:k] for kind, near in found.items()}
