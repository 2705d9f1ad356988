"""Which request holds which row of the tables, and which of a step's tokens run under which row.

Whether a token is prompt or generated is decided by its position, never by the scheduler's phase: after a preemption
generated tokens are computed as if they were prompt, and a prompt may be computed one token at a time.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from msgspec.structs import replace
from numpy.typing import NDArray
from torch import Tensor

from featurehub.edits import Read, Steering
from featurehub.engine.captures import Wanted
from featurehub.engine.readers import Reader, Readers, ReadersBySae

__all__ = ["Batch", "DeviceStep", "Rows", "RunningRequest", "Step"]

Ints = NDArray[np.int64]


class Batch(NamedTuple):
    """The requests of one step that hold a row, in batch order.

    Attributes:
        rows: [requests] their rows.
        starts: [requests] batch index of their first token.
        tokens: [requests] number of their tokens in the step.
        positions: [requests] position, in the request, of the first of these tokens.
    """

    rows: Ints
    starts: Ints
    tokens: Ints
    positions: Ints

    def only(self, chosen: NDArray[np.bool_]) -> "Batch":
        """The chosen requests; ``chosen`` is [requests]."""
        if chosen.all():
            return self
        return Batch(*(column[chosen] for column in self))

    def following(self, tokens: int) -> "Batch":
        """The next so many tokens of each request, of which each has one in this batch; ``starts`` stay."""
        return Batch(self.rows, self.starts, np.full_like(self.tokens, tokens), self.positions + self.tokens)

    def entries(self) -> Iterator[tuple[int, int, int, int]]:
        """Row, start, tokens and position of each request."""
        return zip(*(column.tolist() for column in self), strict=True)

    def indices(self) -> Ints:
        """[tokens] batch index of each token."""
        return self.starts if (self.tokens == 1).all() else self.starts.repeat(self.tokens) + self.offsets()

    def offsets(self) -> Ints:
        """[tokens] of each token, how many of its request's tokens stand before it."""
        ends = self.tokens.cumsum()
        return np.arange(ends[-1]) - (ends - self.tokens).repeat(self.tokens)


class Step(NamedTuple):
    """The step's tokens that run under a row.

    Attributes:
        tokens: [tokens] their batch indices, in ascending order.
        rows: [tokens] the rows that they run under.
        positions: [tokens] their positions in their requests.
        first: [tokens] whether the token is computed for the first time.
    """

    tokens: Ints
    rows: Ints
    positions: Ints
    first: NDArray[np.bool_]

    def only(self, chosen: NDArray[np.bool_]) -> "Step":
        """The chosen tokens; ``chosen`` is [tokens]."""
        if chosen.all():
            return self
        return self.at(chosen)

    def parts(self) -> "tuple[Step, list[Step]]":
        """Splits the step by rows.

        Returns:
            The tokens of all rows that have one token, as generating requests do, in one step; and a step for each
            row with more.
        """
        starts = np.flatnonzero(np.append(True, self.rows[1:] != self.rows[:-1]))
        if len(starts) == len(self.rows):
            return self, []
        stops = np.append(starts[1:], len(self.rows))
        single = stops - starts == 1
        prompts = zip(starts[~single].tolist(), stops[~single].tolist(), strict=True)
        return self.at(starts[single]), [self.at(slice(start, stop)) for start, stop in prompts]

    def at(self, index: NDArray[np.bool_] | Ints | slice) -> "Step":
        """The tokens at these places of the arrays."""
        return Step(self.tokens[index], self.rows[index], self.positions[index], self.first[index])


class DeviceStep(NamedTuple):
    """A ``Step`` on the device that the model runs on.

    Attributes:
        tokens: [tokens] int64, batch indices.
        rows: [tokens] int64.
        positions: [tokens] int64.
        first: [tokens] bool, whether the token is computed for the first time.
    """

    tokens: Tensor
    rows: Tensor
    positions: Tensor
    first: Tensor

    @classmethod
    def of(cls, step: Step, device: torch.device | str = "cpu") -> "DeviceStep":
        """Copies a step to a device; on the CPU it shares the step's memory."""
        return cls(*(torch.from_numpy(column).to(device) for column in step))


class RunningRequest(NamedTuple):
    """What tells a request from others that have the same steering.

    Attributes:
        number: Its own number, which it keeps when it is preempted.
        id: vLLM's id of it.
        prompt_len: Number of tokens in its prompt.
        weights: Identity of the weights that it was first admitted under.
    """

    number: int
    id: str
    prompt_len: int
    weights: str


class Rows:
    """Which requests hold the rows 1 to ``count``. Row 0 belongs to no request and changes nothing.

    Attributes:
        free: The rows that no request holds.
        steerings: By row, the steering of the request that holds it.
        running: By row, that request.
        keyed: By report key that is not fetched yet, the rows of its requests.
        position: [count + 1] position of the first token that is not laid out yet.
        reached: [count + 1] position after the last one that was ever computed.
        computed: [count + 1] tokens laid out, including those that were computed again.
        recomputed: [count + 1] tokens computed again.
        captured: [count + 1] whether the request captures anything.
        readers: [count + 1] who reads; None for a request that reads nothing, or whose report was fetched.
        reads: By SAE that anybody has read, [count + 1] whether the request reads it.
        requests: [count + 1] the request's own number.
    """

    def __init__(self, count: int) -> None:
        self.free = list(range(count, 0, -1))
        self.steerings: dict[int, Steering] = {}
        self.running: dict[int, RunningRequest] = {}
        self.keyed: dict[str, set[int]] = {}
        self.position = np.zeros(count + 1, np.int64)
        self.reached = np.zeros(count + 1, np.int64)
        self.computed = np.zeros(count + 1, np.int64)
        self.recomputed = np.zeros(count + 1, np.int64)
        self.captured = np.zeros(count + 1, np.bool_)
        self.readers = np.full(count + 1, None, np.object_)
        self.reads: dict[str, NDArray[np.bool_]] = {}
        self.requests = np.zeros(count + 1, np.int64)

    def take(self, steering: Steering, request: RunningRequest) -> int:
        """Takes a free row for a request, with its counts at 0. Raises IndexError without any."""
        row = self.free.pop()
        self.steerings[row], self.running[row] = steering, request
        if steering.report:
            self.keyed.setdefault(steering.report, set()).add(row)
        self.position[row] = self.reached[row] = self.computed[row] = self.recomputed[row] = 0
        self.requests[row] = request.number
        self.captured[row] = bool(steering.capture)
        if steering.reads:
            self.start_reading(row, steering, request.number)
        return row

    def start_reading(self, row: int, steering: Steering, request: int) -> None:
        """Notes what a row's request reads."""
        reads: dict[str, list[Read]] = {}
        for read in steering.reads:
            reads.setdefault(read.sae, []).append(read)
        self.readers[row] = Reader(steering.report, request, reads)
        for sae in reads:
            self.reads.setdefault(sae, np.zeros(len(self.readers), np.bool_))[row] = True

    def stop_reading(self, row: int) -> None:
        """Notes that a row's request captures and reads nothing any more."""
        self.captured[row] = False
        if (reader := self.readers[row]) is not None:
            self.readers[row] = None
            for sae in reader.reads:
                self.reads[sae][row] = False

    def give_back(self, row: int) -> None:
        """Frees a row; its counts stay until it is taken again."""
        if key := self.steerings[row].report:
            self.forget_key(row, key)
        self.stop_reading(row)
        del self.steerings[row], self.running[row]
        self.free.append(row)

    def forget_key(self, row: int, key: str) -> None:
        """Lets a row's report key go."""
        rows = self.keyed.get(key, set())
        rows.discard(row)
        if not rows:
            self.keyed.pop(key, None)

    def report_made(self, row: int) -> None:
        """Notes that a running request's report is made: it has no key from now on, and reads nothing more."""
        steering = self.steerings[row]
        self.forget_key(row, steering.report)
        self.stop_reading(row)
        self.steerings[row] = replace(steering, report="")

    def reading_now(self) -> int:
        """How many requests read activations."""
        return sum(reader is not None for reader in self.readers)

    def capturing(self, batch: Batch) -> Mapping[str, Sequence[Wanted]]:
        """By hook point, what to capture of a batch."""
        chosen, capturing = self.captured[batch.rows], dict[str, list[Wanted]]()
        if not chosen.any():
            return capturing
        for row, start, tokens, position in batch.only(chosen).entries():
            steering = self.steerings[row]
            for name in steering.capture:
                wanted = Wanted(steering.report, start, start + tokens, position)
                capturing.setdefault(name, []).append(wanted)
        return capturing

    def reading(self, batch: Batch) -> ReadersBySae:
        """Who reads in a batch."""
        chosen = ((sae, batch.only(rows[batch.rows])) for sae, rows in self.reads.items())
        return {sae: (self.readers_of(own), own.indices()) for sae, own in chosen if len(own.rows)}

    def readers_of(self, batch: Batch) -> Readers:
        return Readers(self.readers[batch.rows], self.requests[batch.rows], batch.tokens, batch.positions)

    def lay_out(self, batch: Batch) -> Step:
        """The step with an entry for each of the batch's tokens; counts them as computed."""
        if (batch.tokens == 1).all():
            step = Step(batch.starts, batch.rows, batch.positions, batch.positions >= self.reached[batch.rows])
        else:
            offsets, rows = batch.offsets(), batch.rows.repeat(batch.tokens)
            positions = batch.positions.repeat(batch.tokens) + offsets
            tokens = batch.starts.repeat(batch.tokens) + offsets
            step = Step(tokens, rows, positions, positions >= self.reached[rows])
        self.count(batch)
        return step

    def count(self, batch: Batch) -> None:
        """Counts a batch's tokens as computed. A row stands in it once."""
        rows, after = batch.rows, batch.positions + batch.tokens
        reached = self.reached[rows]
        self.recomputed[rows] += np.minimum(np.maximum(reached - batch.positions, 0), batch.tokens)
        self.computed[rows] += batch.tokens
        self.reached[rows] = np.maximum(reached, after)
        self.position[rows] = after


def batch_of(entries: Sequence[tuple[int, int, int, int]]) -> Batch:
    """A batch from (row, start, tokens, position) of each request."""
    columns = np.array(entries, np.int64).reshape(-1, 4).T
    return Batch(*columns)
