"""Which request holds which row of the tables, and which of a step's tokens run under which row.

Whether a token is prompt or generated is decided by its position, never by the scheduler's phase: after a preemption
generated tokens are computed as if they were prompt, and a prompt may be computed one token at a time.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from featurehub.edits import Steering

__all__ = ["Batch", "DeviceStep", "Rows", "Step"]

Ints = NDArray[np.int64]


class Batch(NamedTuple):
    """The requests of one step that hold a row, in batch order; one entry of every array per request.

    rows:      their rows
    starts:    batch index of their first token
    tokens:    how many of their tokens the step computes
    positions: position of the first of them
    """

    rows: Ints
    starts: Ints
    tokens: Ints
    positions: Ints

    def only(self, chosen: NDArray[np.bool_]) -> "Batch":
        return Batch(*(column[chosen] for column in self))


class Step(NamedTuple):
    """The step's tokens that run under a row; one entry per token.

    tokens:    their batch indices
    rows, positions
    first:     whether this is the first time that the token is computed
    """

    tokens: Ints
    rows: Ints
    positions: Ints
    first: NDArray[np.bool_]

    def only(self, chosen: NDArray[np.bool_]) -> "Step":
        if chosen.all():
            return self
        return self.at(chosen)

    def parts(self) -> "tuple[Step, list[Step]]":
        """The rows with one token, as generating requests have it, together; and each of the others by itself."""
        starts = np.flatnonzero(np.append(True, self.rows[1:] != self.rows[:-1]))
        if len(starts) == len(self.rows):
            return self, []
        stops = np.append(starts[1:], len(self.rows))
        single = stops - starts == 1
        prompts = zip(starts[~single].tolist(), stops[~single].tolist(), strict=True)
        return self.at(starts[single]), [self.at(slice(start, stop)) for start, stop in prompts]

    def at(self, index: NDArray[np.bool_] | Ints | slice) -> "Step":
        return Step(self.tokens[index], self.rows[index], self.positions[index], self.first[index])


class DeviceStep(NamedTuple):
    """A ``Step`` where the model runs: [tokens] each."""

    tokens: Tensor
    rows: Tensor
    positions: Tensor
    first: Tensor

    @classmethod
    def of(cls, step: Step, device: torch.device | str = "cpu") -> "DeviceStep":
        return cls(*(torch.from_numpy(column).to(device) for column in step))


class Rows:
    """Rows 1 to ``count`` for requests; row 0 belongs to nobody and changes nothing.

    reached:    [rows] position after the last one that was ever computed
    computed:   [rows] tokens laid out, those that were computed again among them
    recomputed: [rows] tokens computed again
    reading:    [rows] whether the request captures or reads anything
    requests:   [rows] the request's own number, which it keeps when it is preempted
    """

    def __init__(self, count: int) -> None:
        self.free = list(range(count, 0, -1))
        self.steerings: dict[int, Steering] = {}
        self.reached = np.zeros(count + 1, np.int64)
        self.computed = np.zeros(count + 1, np.int64)
        self.recomputed = np.zeros(count + 1, np.int64)
        self.reading = np.zeros(count + 1, np.bool_)
        self.requests = np.zeros(count + 1, np.int64)

    def take(self, steering: Steering) -> int:
        row = self.free.pop()
        self.steerings[row] = steering
        self.reached[row] = self.computed[row] = self.recomputed[row] = 0
        self.reading[row] = bool(steering.capture or steering.reads)
        return row

    def give_back(self, row: int) -> None:
        del self.steerings[row]
        self.free.append(row)

    def lay_out(self, batch: Batch) -> Step:
        offsets = np.arange(batch.tokens.sum()) - np.repeat(batch.tokens.cumsum() - batch.tokens, batch.tokens)
        rows = np.repeat(batch.rows, batch.tokens)
        positions = np.repeat(batch.positions, batch.tokens) + offsets
        first = positions >= self.reached[rows]
        np.add.at(self.recomputed, rows, ~first)
        self.computed[batch.rows] += batch.tokens
        self.reached[batch.rows] = np.maximum(self.reached[batch.rows], batch.positions + batch.tokens)
        return Step(np.repeat(batch.starts, batch.tokens) + offsets, rows, positions, first)


def batch_of(entries: Sequence[tuple[int, int, int, int]]) -> Batch:
    """From (row, start, tokens, position) of each request."""
    columns = np.array(entries, np.int64).reshape(-1, 4).T
    return Batch(*columns)
