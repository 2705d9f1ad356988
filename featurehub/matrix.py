"""Activations of many tokens as one matrix, packed: what the server answers and the SDK unpacks.

Most entries are 0, so it is kept by rows ("CSR"): row i has the entries ``starts[i]`` to ``starts[i + 1] − 1``, each
with its column and its value. In JSON the buffers are base64.
"""

import struct
from base64 import b64decode, b64encode
from collections.abc import Iterator
from typing import Self

from pydantic import Field, model_validator

from featurehub.settings import Frozen

__all__ = ["ENTRIES_MAX", "MatrixColumn", "PackedMatrix"]

ENTRIES_MAX = 1 << 22
"""Most entries that one request may ask for."""


class MatrixColumn(Frozen):
    """The latent whose activations a column has.

    Attributes:
        id: The feature's id, or ``sae:<artifact>/<latent>`` for a latent without a label.
        label: Its label; "" where it has none.
        sae: Id of its SAE.
        latent: Its index there.
    """

    id: str
    label: str
    sae: str
    latent: int


class PackedMatrix(Frozen):
    """A sparse matrix. The buffers are little-endian, with 32 bits per number, in base64.

    Attributes:
        rows: Number of rows.
        columns: Number of columns.
        starts: int32 [rows + 1], where the entries of each row start, and the number of all.
        indices: int32 [entries], their columns, ascending within a row.
        values: float32 [entries].
    """

    rows: int = Field(ge=0)
    columns: int = Field(ge=0)
    starts: str
    indices: str
    values: str

    @classmethod
    def pack(cls, columns: int, starts: bytes, indices: bytes, values: bytes) -> Self:
        """A matrix from the buffers themselves. Raises ValueError where they do not fit together."""
        texts = [b64encode(each).decode() for each in (starts, indices, values)]
        return cls(rows=len(starts) // 4 - 1, columns=columns, starts=texts[0], indices=texts[1], values=texts[2])

    @model_validator(mode="after")
    def check(self) -> Self:
        """Refuses buffers that do not fit together."""
        starts, indices, values = self.unpack()
        if len(starts) % 4 or len(indices) != len(values):
            raise ValueError("the buffers of the matrix have different numbers of entries")
        edges, at = ints(starts), ints(indices)
        if len(edges) != self.rows + 1 or list(edges) != sorted(edges) or (edges[0], edges[-1]) != (0, len(at)):
            raise ValueError(f"the entries of the matrix are not those of {self.rows} rows")
        if at and not 0 <= min(at) <= max(at) < self.columns:
            raise ValueError(f"an entry lies in a column that is none of the {self.columns}")
        return self

    def entries(self) -> Iterator[tuple[int, int, float]]:
        """Row, column and value of each entry, row by row."""
        starts, indices, values = self.unpack()
        edges, at = ints(starts), ints(indices)
        found = struct.unpack(f"<{len(at)}f", values)
        for row in range(self.rows):
            for entry in range(edges[row], edges[row + 1]):
                yield row, at[entry], found[entry]

    def unpack(self) -> tuple[bytes, bytes, bytes]:
        """The buffers of starts, indices and values."""
        starts, indices, values = (b64decode(each, validate=True) for each in (self.starts, self.indices, self.values))
        return starts, indices, values


def ints(buffer: bytes) -> tuple[int, ...]:
    return struct.unpack(f"<{len(buffer) // 4}i", buffer[: len(buffer) // 4 * 4])
