"""Numbers on disk that a run needs while it lasts, and that are too many for memory.

They lie in files without a name, of which nothing is left however the process ends: in ``TMPDIR`` if it is set, else in
``/var/tmp``, which unlike ``/tmp`` is on a disk everywhere. Mapped, they are ordinary arrays; the operating system
keeps in memory what it has room for.
"""

import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO
from weakref import finalize

import numpy as np

from featurehub.errors import BudgetExceeded

__all__ = ["ScratchArray", "check_room", "scratch_array", "scratch_file", "scratch_folder"]

ON_DISK = "/var/tmp"


def scratch_folder() -> Path:
    """Where such files lie."""
    if "TMPDIR" not in os.environ and os.access(ON_DISK, os.W_OK):
        return Path(ON_DISK)
    return Path(tempfile.gettempdir())


def scratch_file() -> IO[bytes]:
    """A new file without a name, for reading and writing."""
    return tempfile.TemporaryFile(dir=scratch_folder())


def check_room(needed: float, purpose: str) -> None:
    """Raises BudgetExceeded if the disk is too small.

    Args:
        needed: Bytes.
        purpose: What takes them.
    """
    folder = scratch_folder()
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise BudgetExceeded(
            f"{purpose} need about {needed / 1e9:.1f} GB in {folder}, {free / 1e9:.1f} GB are free; give fewer "
            "documents, or set TMPDIR to a folder on a larger disk"
        )


class ScratchArray:
    """An array that is written from its first number to its last.

    Args:
        dtype: Type of its numbers.
    """

    def __init__(self, dtype: type[np.generic]) -> None:
        self.dtype, self.size = np.dtype(dtype), 0
        self._file = scratch_file()
        finalize(self, self._file.close)

    def add(self, values: np.ndarray) -> None:
        """Writes further numbers. Raises BudgetExceeded if the disk is full."""
        with full_disk_named():
            self._file.write(np.ascontiguousarray(values, self.dtype).data)
        self.size += len(values)

    def mapped(self) -> np.ndarray:
        """All numbers, [size]; nothing can be added any more. Raises BudgetExceeded if the disk is full."""
        with self._file as file, full_disk_named():
            file.flush()
            return mapped(file, self.dtype, self.size)


def scratch_array(dtype: type[np.generic], size: int) -> np.ndarray:
    """An array of zeros, [size], for writing in any order. Raises BudgetExceeded if the disk is full."""
    with scratch_file() as file, full_disk_named():
        if size:  # without blocks of its own on the disk, a write to a full one would end the process
            os.posix_fallocate(file.fileno(), 0, size * np.dtype(dtype).itemsize)
        return mapped(file, np.dtype(dtype), size)


def mapped(file: IO[bytes], dtype: np.dtype, size: int) -> np.ndarray:
    return np.memmap(file, dtype, "r+", shape=(size,)).view(np.ndarray) if size else np.empty(0, dtype)


@contextmanager
def full_disk_named() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise BudgetExceeded(
            f"the disk of {scratch_folder()} is full; give fewer documents, or set TMPDIR to a folder on a larger disk"
        ) from None
