"""The features whose vectors are nearest to one, on SQLite.

1. An artifact's vectors of one kind are read once, into one matrix of float32, and kept in memory until they change
   (``EmbeddedBy.stamp``): with 384 numbers each, 15 MB for 10,000 features and 1.5 GB for a million. At most
   ``BYTES`` are kept, those used last.
2. similarity = matrix · vector, for all features at once; the k largest are sorted.
"""

from collections import OrderedDict
from collections.abc import Iterator, Mapping
from threading import Lock
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from sqlalchemy.orm import Session

from featurehub.errors import StoreError
from featurehub.records import SearchFilter
from featurehub.store.embeddings import EmbeddedBy, EmbeddingKind
from featurehub.store.half import DTYPE
from featurehub.store.near import Near
from featurehub.store.only import ALLOWED, bounds_of
from featurehub.store.sql import statement
from featurehub.store.statistics import id_of

__all__ = ["Matrices", "nearest_in_memory"]

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


def nearest_in_memory(
    session: Session, vector: NDArray[np.float32], embedded: Mapping[str, EmbeddedBy], k: int, kind: EmbeddingKind,
    only: SearchFilter,
) -> Iterator[Near]:  # fmt: skip
    """The nearest features of each SAE (by id); see ``nearest``."""
    for sae, by in embedded.items():
        matrix = MATRICES.find(session, sae, kind, by)
        near = matrix.rows @ vector
        if only.bounds_features:
            rows = session.execute(LATENTS, {"artifact": sae, **bounds_of(only)})
            near = np.where(np.isin(matrix.latents, rows.scalars().all()), near, -np.inf)
        best = np.argpartition(-near, k)[:k] if k < len(near) else np.arange(len(near))
        yield from (Near(id_of(sae, int(matrix.latents[at])), float(near[at])) for at in best if near[at] > -np.inf)
