"""The features whose vectors are nearest to one, on SQLite.

1. An artifact's vectors of one kind are read once, into one matrix of float32, and kept in memory until they change
   (``EmbeddedBy.stamp``): with 384 numbers each, 15 MB for 10,000 features and 1.5 GB for a million. At most
   ``BYTES`` are kept, those used last.
2. similarity = matrix · vector, for all features at once; the k largest are sorted.
"""

from collections import OrderedDict
from collections.abc import Sequence
from threading import Lock
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from sqlalchemy.orm import Session

from featurehub.errors import EmbedderMismatch, StoreError
from featurehub.records import SearchFilter
from featurehub.store.directory import Directory
from featurehub.store.embeddings import DTYPE, EmbeddedBy, EmbeddingKind, embedders_of
from featurehub.store.only import ALLOWED, bounds_of
from featurehub.store.sql import statement
from featurehub.store.statistics import id_of

__all__ = ["Near", "QueryVector", "check_embedders", "nearest"]

EVERY = SearchFilter()
BYTES = 4 << 30
ROWS = 8192

COUNT = statement(
    "SELECT count(*) FROM embeddings AS e JOIN features AS f ON f.id = e.feature_id"
    " WHERE f.artifact_id = :artifact AND e.kind = :kind"
)
VECTORS = statement(
    "SELECT f.latent, e.vector FROM features AS f JOIN embeddings AS e ON e.feature_id = f.id AND e.kind = :kind"
    " WHERE f.artifact_id = :artifact ORDER BY f.latent"
)
LATENTS = statement(f"SELECT f.latent FROM features AS f WHERE f.artifact_id = :artifact AND {ALLOWED}")


class QueryVector(NamedTuple):
    """A query as a vector.

    Attributes:
        embedder: Identity of the embedder that it comes from.
        vector: ``[dimensions]``, of length 1.
    """

    embedder: str
    vector: NDArray[np.float32]


class Near(NamedTuple):
    """A feature's id, and the cosine of its vector with the one asked for, in [-1, 1]."""

    id: str
    similarity: float


class Matrix(NamedTuple):
    """The vectors of an artifact: ``latents [features]`` and ``rows [features, dimensions]``."""

    latents: NDArray[np.int64]
    rows: NDArray[np.float32]


class Matrices:
    """Matrices in memory, those used last, by what they were read from. Threads may share it."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._lock = Lock()
        self._kept: OrderedDict[tuple[str, EmbeddingKind], tuple[str, Matrix]] = OrderedDict()

    def find(self, session: Session, artifact: str, kind: EmbeddingKind, embedded: EmbeddedBy) -> Matrix:
        """The matrix as this session's snapshot has it.

        Raises:
            StoreError: It is larger than all that may be kept.
        """
        # Under the lock, so that requests that come together read it once.
        with self._lock:
            stamp, matrix = self._kept.get((artifact, kind), ("", None))
            if matrix is None or stamp != embedded.stamp:
                self._kept.pop((artifact, kind), None)
                matrix = self._read(session, artifact, kind, embedded.dimensions)
                self._kept[artifact, kind] = (embedded.stamp, matrix)
            self._kept.move_to_end((artifact, kind))
            while sum(each.rows.nbytes for _, each in self._kept.values()) > self._limit and len(self._kept) > 1:
                self._kept.popitem(last=False)
            return matrix

    def _read(self, session: Session, artifact: str, kind: EmbeddingKind, dimensions: int) -> Matrix:
        asked = {"artifact": artifact, "kind": kind.value}
        count = session.execute(COUNT, asked).scalar_one()
        if count * dimensions * 4 > self._limit:
            raise StoreError(
                f"{count:,} vectors of artifact {artifact[:12]} do not fit into the {self._limit >> 30} GiB that are "
                "kept in memory; use a database with an index of vectors (PostgreSQL with pgvector)"
            )
        latents, rows = np.empty(count, np.int64), np.empty((count, dimensions), np.float32)
        start = 0
        for part in session.execute(VECTORS, asked).partitions(ROWS):
            end = start + len(part)
            latents[start:end] = [row.latent for row in part]
            joined = np.frombuffer(b"".join(row.vector for row in part), DTYPE)
            rows[start:end] = joined.reshape(len(part), dimensions)
            start = end
        return Matrix(latents, rows)


MATRICES = Matrices(BYTES)


def check_embedders(session: Session, query: QueryVector, saes: Sequence[str], directory: Directory) -> None:
    """Refuses to compare a query with the vectors of another embedder.

    Raises:
        EmbedderMismatch: One of the SAEs (by id) was embedded by another; the message says how to embed it again.
    """
    for sae, embedded in embedders_of(session, saes).items():
        if (embedded.embedder, embedded.dimensions) != (query.embedder, len(query.vector)):
            name = directory.artifacts[sae].name
            raise EmbedderMismatch(
                f"the features of {name!r} were embedded by {embedded.embedder}, and the query by {query.embedder}: "
                f"vectors of two embedders cannot be compared. Embed them again with `featurehub features embed --sae "
                f"{name} --embedder {query.embedder}`, or set $FEATUREHUB_EMBEDDER to {embedded.embedder}"
            )


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
    found: list[Near] = []
    for sae, embedded in embedders_of(session, saes).items():
        matrix = MATRICES.find(session, sae, kind, embedded)
        near = matrix.rows @ vector
        if only.bounds_features:
            rows = session.execute(LATENTS, {"artifact": sae, **bounds_of(only)})
            near = np.where(np.isin(matrix.latents, rows.scalars().all()), near, -np.inf)
        best = np.argpartition(-near, k)[:k] if k < len(near) else np.arange(len(near))
        found += [Near(id_of(sae, int(matrix.latents[at])), float(near[at])) for at in best if near[at] > -np.inf]
    return sorted(found, key=lambda each: (-each.similarity, each.id))[:k]
