"""Rows of columns on the op's device, side by side in 64-bit words, so that many rows are written or read at once.

1. ``stage`` lays a row out on the host. ``write`` copies all staged rows in one piece and puts each in its place.
2. ``ask`` promises what the device has counted in a row. ``collect`` takes all that was asked for in one gather and one
   copy, for which nobody waits until somebody reads it.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

__all__ = ["Column", "Draft", "HostCopy", "Place", "Sheet", "place", "send"]

Words = NDArray[np.int64]
NUMPY = {torch.long: np.int64, torch.float32: np.float32, torch.bool: np.bool_}


class Column(NamedTuple):
    """A column of a sheet.

    Attributes:
        size: How many numbers of it a row holds.
        dtype: int64, float32 or bool.
        blank: What they are in a row that nobody holds.
    """

    size: int
    dtype: torch.dtype
    blank: float = 0


class Draft(NamedTuple):
    """A row that is laid out on the host.

    Attributes:
        at: Its line there.
        fields: By name, all lines as numbers of a column's dtype, and where in a line its numbers begin.
    """

    at: int
    fields: Mapping[str, tuple[NDArray[Any], int]]

    def put(self, name: str, values: float | Sequence[float]) -> None:
        """Writes a column's first number, or several."""
        lines, start = self.fields[name]
        if isinstance(values, (list, tuple)):
            lines[self.at, start : start + len(values)] = values
        else:
            lines[self.at, start] = values


class HostCopy:
    """A tensor on its way to the host, for which nobody waits until somebody reads it.

    Args:
        tensor: On the CPU its memory is shared, so that it must not be written to any more.

    Attributes:
        tensor: It on the host, complete once ``done`` is.
        done: What to wait for on CUDA.
    """

    def __init__(self, tensor: Tensor) -> None:
        self.tensor = tensor
        self.done: torch.cuda.Event | None = None
        if tensor.is_cuda:
            self.tensor = torch.empty_like(tensor, device="cpu", pin_memory=True).copy_(tensor, non_blocking=True)
            self.done = torch.cuda.Event()
            self.done.record()

    @property
    def bytes(self) -> int:
        """Its size."""
        return self.tensor.nbytes

    def array(self) -> NDArray[Any]:
        """The tensor as an array; on CUDA, waits for the copy."""
        if self.done is not None:
            self.done.synchronize()
        return self.tensor.numpy()


class Copied:
    """What the device had counted in some rows at one time.

    Attributes:
        rows: The rows.
        counted: [rows, words]; None until it is collected.
        numbers: By column, [rows, size] as lists, once somebody has read it of a row.
    """

    def __init__(self) -> None:
        self.rows: list[int] = []
        self.counted: HostCopy | None = None
        self.numbers: dict[str, list[list[Any]]] = {}


class Sheet:
    """Columns of all rows.

    Args:
        rows: Number of rows.
        columns: By name, in the order in which they lie in a row.
        counted: Columns that stand side by side: those that the device counts in.
        device: Where they lie.

    Attributes:
        words: [rows, words] int64.
        lines: [rows, 1 + words] int64 on the host: the number of a row, and what ``write`` will put there.
        staged: By row, its line.
        asked: What ``collect`` will take.
    """

    def __init__(
        self, rows: int, columns: Mapping[str, Column], counted: Sequence[str], device: torch.device | str
    ) -> None:
        self.columns = columns
        self.spans: dict[str, slice] = {}
        size = 0
        for name, column in columns.items():
            self.spans[name] = slice(size, size := size + -(-column.size * column.dtype.itemsize // 8))
        self.counted = slice(self.spans[counted[0]].start, self.spans[counted[-1]].stop)
        self.lines = np.zeros((rows, 1 + size), np.int64)
        self.fields = {
            name: (self.lines.view(NUMPY[column.dtype]), (1 + self.spans[name].start) * 8 // column.dtype.itemsize)
            for name, column in columns.items()
        }
        for name, column in columns.items():
            Draft(0, self.fields).put(name, [column.blank] * column.size)
        self.blank = self.lines[0].copy()
        self.words = torch.from_numpy(np.tile(self.blank[1:], (rows, 1))).to(device)
        self.staged: dict[int, int] = {}
        self.asked = Copied()

    def column(self, name: str) -> Tensor:
        """A column as a view of the sheet: [rows, size]."""
        return self.view(self.words, name)

    def view(self, words: Tensor, name: str) -> Tensor:
        """The same of other rows of this form."""
        return words[:, self.spans[name]].view(self.columns[name].dtype)[:, : self.columns[name].size]

    def stage(self, row: int) -> Draft:
        """A blank row that ``write`` will put in the place of this one, to be filled until then."""
        at = self.staged.setdefault(row, len(self.staged))
        self.lines[at] = self.blank
        self.lines[at, 0] = row
        return Draft(at, self.fields)

    def write(self) -> tuple[Tensor, Tensor] | None:
        """Puts the staged rows in their places, after what was asked for has been collected.

        Returns:
            Their numbers ([rows]) and what they hold ([rows, words]), on the device, until a row is staged again; None
            if none was staged.
        """
        self.collect()
        if not self.staged:
            return None
        sent = send(self.lines[: len(self.staged)], self.words.device)
        self.staged.clear()
        rows, words = sent[:, 0].contiguous(), sent[:, 1:]
        self.words.index_copy_(0, rows, words)
        return rows, words

    def ask(self, row: int) -> Callable[[str], list[Any]]:
        """Asks for what is counted in a row as it is now; the row must have been written.

        Returns:
            A function that gives a counted column, by its name; on CUDA, calling it waits for the device if need be.
        """
        copied, at = self.asked, len(self.asked.rows)
        copied.rows.append(row)
        return lambda name: self.read(copied, name)[at]

    def read(self, copied: Copied, name: str) -> list[list[Any]]:
        """A counted column of the rows that were copied."""
        if copied is self.asked:
            self.collect()
        if name not in copied.numbers:
            assert copied.counted is not None
            copied.numbers[name] = self.numbers(copied.counted.array(), name)
        return copied.numbers[name]

    def numbers(self, words: Words, name: str) -> list[list[Any]]:
        """A counted column of rows ([rows, words of these columns]), as lists."""
        span, column, first = self.spans[name], self.columns[name], self.counted.start
        return words[:, span.start - first : span.stop - first].view(NUMPY[column.dtype])[:, : column.size].tolist()

    def collect(self) -> None:
        """Starts to copy all that was asked for to the host."""
        if self.asked.rows:
            copied, self.asked = self.asked, Copied()
            rows = send(np.array(copied.rows, np.int64), self.words.device)
            copied.counted = HostCopy(self.words[:, self.counted].index_select(0, rows))


def send(host: Words, device: torch.device) -> Tensor:
    """Copies an array to a device without waiting. On the CPU it shares the array's memory.

    On CUDA the device reads a copy in pinned memory, so that the array may be written to again at once.
    """
    tensor = torch.from_numpy(host)
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor


Place = slice | Tensor
"""Tokens' batch indices. Those of consecutive tokens are a slice, which copies nothing."""


def place(tokens: Words, device: torch.device) -> Place:
    """The place of batch indices in ascending order, for tensors on a device."""
    first, last = int(tokens[0]), int(tokens[-1])
    return slice(first, last + 1) if last - first + 1 == len(tokens) else send(tokens, device)
