"""Matrices on disk, against scipy's in memory: whatever the spans, the numbers are the same."""

import errno
import shutil
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import csc_matrix, csr_matrix

from featurehub import scratch, sparse
from featurehub.errors import BudgetExceeded
from featurehub.scratch import ScratchArray, check_room, scratch_array, scratch_folder
from featurehub.sparse import MatrixWriter, columns_of, entries_per_column, rows_of, spans, without_rows


@pytest.fixture(params=[1, 7, 1 << 21])
def entries(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(sparse, "ENTRIES", request.param)
    return request.param


@pytest.fixture
def matrix() -> csr_matrix:
    random = np.random.default_rng(0)
    dense = random.random((60, 23), dtype=np.float32) * (random.random((60, 23)) < 0.2)
    dense[[0, 8, 59]] = dense[:, [0, 5, 22]] = 0
    dense[7] = 1
    return csr_matrix(dense)


def same(found: csr_matrix | csc_matrix, wanted: csr_matrix | csc_matrix) -> bool:
    parts = ("data", "indices", "indptr")
    wanted.sort_indices()
    return (
        type(found) is type(wanted)
        and found.get_shape() == wanted.get_shape()
        and all(np.array_equal(getattr(found, part), getattr(wanted, part)) for part in parts)
    )


@given(st.lists(st.integers(0, 9), max_size=20), st.integers(1, 12))
def test_spans_are_all_lines_and_small(lengths: list[int], entries: int) -> None:
    indptr = np.cumsum([0, *lengths])
    found = list(spans(indptr, entries))
    assert [line for start, stop in found for line in range(start, stop)] == list(range(len(lengths)))
    assert all(stop == start + 1 or indptr[stop] - indptr[start] <= entries for start, stop in found)


def test_what_was_written_is_read(matrix: csr_matrix) -> None:
    written = MatrixWriter(23)
    for start, stop in ((0, 5), (5, 5), (5, 60)):
        rows = matrix[start:stop]
        written.add(rows.data, rows.indices, np.diff(rows.indptr))
    assert written.bytes == 8 * matrix.nnz
    assert same(written.rows(), matrix)


def test_nothing_is_a_matrix_too() -> None:
    assert same(MatrixWriter(3).rows(), csr_matrix((0, 3), dtype=np.float32))
    assert same(columns_of(csr_matrix((4, 3), dtype=np.float32)), csc_matrix((4, 3), dtype=np.float32))


@pytest.mark.usefixtures("entries")
def test_columns_are_those_of_scipy(matrix: csr_matrix) -> None:
    assert same(columns_of(matrix), csc_matrix(matrix))
    assert np.array_equal(entries_per_column(matrix), matrix.getnnz(axis=0))


@pytest.mark.usefixtures("entries")
def test_rows_are_taken_and_emptied_as_by_scipy(matrix: csr_matrix) -> None:
    ranges = [(50, 60), (3, 3), (0, 9), (7, 8)]
    assert same(rows_of(matrix, ranges), matrix[np.concatenate([np.arange(*each) for each in ranges])])
    mask = np.arange(60) % 3 == 1
    dense = matrix.toarray()
    dense[mask] = 0
    assert same(without_rows(matrix, mask), csr_matrix(dense))


def test_no_memory_is_taken_for_entries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sparse, "ENTRIES", 1 << 12)
    rows, width, written = 1 << 13, 64, MatrixWriter(64)
    written.add(np.ones(rows * width), np.tile(np.arange(width), rows), np.full(rows, width))
    matrix, mask = written.rows(), np.zeros(rows, bool)
    tracemalloc.start()
    kept = columns_of(matrix), rows_of(matrix, [(0, rows)]), without_rows(matrix, mask), entries_per_column(matrix)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(kept) == 4
    assert peak < written.bytes / 4


def test_files_lie_where_they_are_told_and_have_no_names(
    matrix: csr_matrix, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TMPDIR", raising=False)
    assert scratch_folder() == Path("/var/tmp")
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(scratch.tempfile, "tempdir", None)
    assert scratch_folder() == tmp_path
    columns = columns_of(matrix)
    assert str(tmp_path) in Path("/proc/self/maps").read_text(encoding="utf-8")
    assert not list(tmp_path.iterdir())
    assert columns.nnz
    del columns
    assert str(tmp_path) not in Path("/proc/self/maps").read_text(encoding="utf-8"), "gone with the matrix"


def test_a_disk_without_room_is_named_before_and_while_it_fills(monkeypatch: pytest.MonkeyPatch) -> None:
    free = shutil.disk_usage(scratch_folder()).free
    with pytest.raises(BudgetExceeded, match=r"the activations need about .* GB in .*TMPDIR"):
        check_room(2 * free, "the activations")
    check_room(1, "the activations")
    with Path("/dev/full").open("w+b", buffering=0) as full:
        monkeypatch.setattr(scratch, "scratch_file", lambda: full)
        with pytest.raises(BudgetExceeded, match="is full"):
            ScratchArray(np.float32).add(np.ones(1, np.float32))

    def refuse(*_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.undo()
    monkeypatch.setattr(scratch.os, "posix_fallocate", refuse)
    with pytest.raises(BudgetExceeded, match="is full"):
        scratch_array(np.float32, 1)
