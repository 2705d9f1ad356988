"""The features whose vectors are nearest to one, on PostgreSQL with pgvector.

1. Where the SAEs that are looked in have at most ``EXACT`` vectors, all are compared: that is exact, and as fast.
2. Otherwise an HNSW index (arXiv 1603.09320) over all vectors of a kind and length is gone through, nearest first,
   until ``k`` of the SAEs and the filter were found (pgvector's iterative scan). It misses some: how many is measured
   in ``tests/benchmarks/search.py``. Where it ends before, as for a filter that few features pass, all are compared.
3. Similarity is the inner product, of vectors in float16, in which the query is compared too.
4. ``index_vectors`` makes an index once there are more than ``EXACT`` such vectors: of many at once it is built several
   times as fast as of one after another.
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, TextClause
from sqlalchemy.orm import Session

from featurehub.records import SearchFilter
from featurehub.store.embeddings import EmbeddedBy, EmbeddingKind
from featurehub.store.half import as_text
from featurehub.store.near import Near
from featurehub.store.only import ALLOWED, bounds_of
from featurehub.store.sql import statement

__all__ = ["index_vectors", "nearest_in_index"]

EXACT = 20_000
MEMORY = 2 << 30
"""Most memory that the server is to build an index in."""
LEAST = 64 << 10
"""Kilobytes that it may always take, as PostgreSQL has it by default."""
OVERHEAD = 800
"""Bytes that a vector takes of it beside its numbers."""

COUNT = statement("SELECT count(*) FROM embeddings WHERE artifact_id = :artifact AND kind = :kind")
SIZES = statement(
    """
    SELECT kind, vector_dims(vector) AS dimensions, count(*) AS vectors FROM embeddings
    WHERE pg_has_role((SELECT relowner FROM pg_class WHERE oid = CAST('embeddings' AS regclass)), 'USAGE')
    GROUP BY 1, 2
    """
)
COUNTED: dict[tuple[str, EmbeddingKind], tuple[str, int]] = {}
"""Stamp and number of an artifact's vectors of a kind."""


def nearest_in_index(
    session: Session, vector: NDArray[np.float32], embedded: Mapping[str, EmbeddedBy], k: int, kind: EmbeddingKind,
    only: SearchFilter,
) -> Sequence[Near]:  # fmt: skip
    """The nearest features of all SAEs (by id); see ``nearest``."""
    vectors = sum(_count(session, sae, kind, by) for sae, by in embedded.items())
    if not vectors:
        return []
    asked = {"vector": as_text(vector), "saes": list(embedded), "k": k}
    asked |= bounds_of(only) if only.bounds_features else {}
    if vectors > EXACT:
        query = _query(kind, len(vector), filtered=only.bounds_features)
        found = [Near(*row) for row in session.execute(query, asked).all()]
        if len(found) == k:
            return found
    exact = _query(kind, None, filtered=only.bounds_features)
    return [Near(*row) for row in session.execute(exact, asked).all()]


def index_vectors(connection: Connection) -> None:
    """Makes the indexes that are missing and pay, where this user may; none on SQLite."""
    if connection.dialect.name != "postgresql":
        return
    for kind, dimensions, vectors in connection.execute(SIZES).all():
        if vectors > EXACT:
            _build(connection, kind, dimensions, vectors)


def _build(connection: Connection, kind: str, dimensions: int, vectors: int) -> None:
    memory = min(MEMORY, vectors * (2 * dimensions + OVERHEAD)) >> 10
    connection.exec_driver_sql(f"SET LOCAL maintenance_work_mem = '{max(memory, LEAST)}kB'")
    connection.exec_driver_sql(
        f"CREATE INDEX IF NOT EXISTS ix_embeddings_{kind}_{dimensions} ON embeddings "
        f"USING hnsw (CAST(vector AS halfvec({dimensions})) halfvec_ip_ops) WHERE {_indexed(kind, dimensions)}"
    )


def _count(session: Session, artifact: str, kind: EmbeddingKind, embedded: EmbeddedBy) -> int:
    stamp, count = COUNTED.get((artifact, kind), ("", 0))
    if stamp != embedded.stamp:
        count = session.execute(COUNT, {"artifact": artifact, "kind": kind.value}).scalar_one()
        COUNTED[artifact, kind] = embedded.stamp, count
    return count


@lru_cache
def _query(kind: EmbeddingKind, dimensions: int | None, *, filtered: bool) -> TextClause:
    """The query for the nearest vectors: through the index of such vectors, or by comparing all."""
    # What it is ordered by is what the index is over, or not.
    vector, asked = "e.vector", "CAST(:vector AS halfvec)"
    if dimensions is not None:
        vector, asked = (f"CAST({each} AS halfvec({dimensions}))" for each in ("e.vector", ":vector"))
    of_kind = f"e.kind = '{kind.value}'" if dimensions is None else _indexed(kind.value, dimensions)
    features = f"JOIN features AS f ON f.id = e.feature_id AND {ALLOWED}" if filtered else ""
    return statement(
        f"SELECT e.feature_id, -({vector} <#> {asked}) FROM embeddings AS e {features}"
        f" WHERE {of_kind} AND e.artifact_id IN :saes ORDER BY {vector} <#> {asked} LIMIT :k",
        "saes",
    )


def _indexed(kind: str, dimensions: int) -> str:
    """Which vectors an index is over."""
    return f"kind = '{kind}' AND vector_dims(vector) = {dimensions}"
