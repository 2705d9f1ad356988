"""What is near: a query as a vector, and a feature whose vector is like it."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["Near", "QueryVector"]


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
