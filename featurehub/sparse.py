"""Sparse matrices that lie on disk, and what is done with them a part at a time.

They are those of ``scipy.sparse`` with their numbers in mapped files (``featurehub.scratch``): rows, columns and blocks
of them are taken as usual, and are in memory. What scipy would do with all of one at once is done here by spans of
``ENTRIES`` entries, so memory does not grow with them: it holds 4 bytes per row or column.
"""

from collections.abc import Iterable, Iterator

import numpy as np
from scipy.sparse import csc_matrix, csr_matrix

from featurehub.scratch import ScratchArray, scratch_array

__all__ = ["ENTRIES", "MatrixWriter", "columns_of", "entries_per_column", "rows_of", "spans", "without_rows"]

ENTRIES = 1 << 21
"""Entries that are looked at together."""


class MatrixWriter:
    """Writes a matrix row by row, or column by column: "lines" are the ones or the others.

    Args:
        width: Entries in a full line.
    """

    def __init__(self, width: int) -> None:
        self.width = width
        self._data, self._indices, self._lengths = (ScratchArray(each) for each in (np.float32, np.int32, np.int64))

    @property
    def bytes(self) -> int:
        """What was written."""
        return 8 * self._data.size

    def add(self, data: np.ndarray, indices: np.ndarray, lengths: np.ndarray) -> None:
        """Writes some lines.

        Args:
            data: [entries] their numbers.
            indices: [entries] where in its line each stands, ascending in a line.
            lengths: [lines] entries in each line.
        """
        self._data.add(data)
        self._indices.add(indices)
        self._lengths.add(lengths)

    def rows(self) -> csr_matrix:
        """The matrix whose rows were written."""
        parts, lines = self._parts()
        return csr_matrix(parts, shape=(lines, self.width))

    def columns(self) -> csc_matrix:
        """The matrix whose columns were written."""
        parts, lines = self._parts()
        return csc_matrix(parts, shape=(self.width, lines))

    def _parts(self) -> tuple[tuple[np.ndarray, np.ndarray, np.ndarray], int]:
        lengths = self._lengths.mapped()
        indptr = np.zeros(len(lengths) + 1, np.int64)
        np.cumsum(lengths, out=indptr[1:])
        return (self._data.mapped(), self._indices.mapped(), indptr), len(lengths)


def spans(indptr: np.ndarray, entries: int | None = None) -> Iterator[tuple[int, int]]:
    """Ranges of lines, in order, that have at most so many entries each, or one line.

    Args:
        indptr: [lines + 1] where the entries of each line begin.
        entries: By default ``ENTRIES``.
    """
    start, lines = 0, len(indptr) - 1
    while start < lines:
        most = indptr[start] + (entries or ENTRIES)
        stop = max(start + 1, int(np.searchsorted(indptr, most, side="right")) - 1)
        yield start, stop
        start = stop


def entries_per_column(matrix: csr_matrix) -> np.ndarray:
    """How many entries each column has, [columns]."""
    found = np.zeros(matrix.get_shape()[1], np.int64)
    for start in range(0, matrix.nnz, ENTRIES):
        found += np.bincount(matrix.indices[start : start + ENTRIES], minlength=len(found))
    return found


def columns_of(matrix: csr_matrix) -> csc_matrix:
    """The same matrix by columns, on disk: counted first, then each span of rows is put where its columns lie."""
    indptr = np.zeros(matrix.get_shape()[1] + 1, np.int64)
    np.cumsum(entries_per_column(matrix), out=indptr[1:])
    data, rows = scratch_array(np.float32, matrix.nnz), scratch_array(np.int32, matrix.nnz)
    next_free = indptr[:-1].copy()
    for start, stop in spans(matrix.indptr):
        block = matrix[start:stop].tocsc()
        lengths = np.diff(block.indptr)
        places = np.arange(block.nnz) + np.repeat(next_free - block.indptr[:-1], lengths)
        data[places], rows[places] = block.data, block.indices + start
        next_free += lengths
    return csc_matrix((data, rows, indptr), shape=matrix.get_shape())


def rows_of(matrix: csr_matrix, ranges: Iterable[tuple[int, int]]) -> csr_matrix:
    """The rows of some ranges, one range after the other, on disk."""
    written = MatrixWriter(matrix.get_shape()[1])
    for begin, end in ranges:
        for start, stop in spans(matrix.indptr[begin : end + 1]):
            block = matrix[begin + start : begin + stop]
            written.add(block.data, block.indices, np.diff(block.indptr))
    return written.rows()


def without_rows(matrix: csr_matrix, mask: np.ndarray) -> csr_matrix:
    """The same matrix, on disk, with nothing in some rows: those of ``mask``, [rows] bool."""
    written = MatrixWriter(matrix.get_shape()[1])
    for start, stop in spans(matrix.indptr):
        block, kept = matrix[start:stop], ~mask[start:stop]
        lengths = np.diff(block.indptr)
        entries = np.repeat(kept, lengths)
        written.add(block.data[entries], block.indices[entries], lengths * kept)
    return written.rows()
