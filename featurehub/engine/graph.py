"""Hooks inside captured graphs: the same tables, read by kernels from buffers that never move.

1. Before a step, ``Buffers.fill`` writes for every token its row, its position, and whether it is computed for the
   first time. A token that runs under no row has row 0. As long as the same requests generate, ``Buffers.advance``
   only moves the positions on.
2. The op launches the kernels of ``featurehub.engine.kernel``; a replayed graph launches them again. Neither knows how
   many requests there are.
3. The kernel copies the stream of requests that read to the hook's ``tap``. ``drain`` takes it from there before the
   next step overwrites it, in the same order of launches.
4. Tokens of a sample that run under no row get the last one for the step, which is tapped and edits nothing.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from featurehub.edits import Steering
from featurehub.engine import kernel
from featurehub.engine.bank import Bank
from featurehub.engine.captures import Wanted
from featurehub.engine.conditions import NO_CONDITION, Conditions
from featurehub.engine.readers import ReadersBySae, taken
from featurehub.engine.reading import Readings
from featurehub.engine.rows import Step
from featurehub.engine.sampler import SAMPLER, Chosen
from featurehub.engine.sheet import send
from featurehub.engine.table import EditTable

__all__ = ["Buffers", "GraphHook"]


class Buffers:
    """What the kernels know of a step's tokens, at addresses that never change.

    Attributes:
        columns: [3, max_tokens] int64, the three below.
        slot: [max_tokens] the token's row; 0 for none.
        position: [max_tokens] its position in its request.
        first: [max_tokens] 1 if it is computed for the first time, else 0.
        filled: Number of tokens that the last step wrote.
        reached: [filled] the positions that the last step wrote.
    """

    def __init__(self, max_tokens: int, device: torch.device | str) -> None:
        self.columns = torch.zeros(3, max_tokens, dtype=torch.long, device=device)
        self.slot, self.position, self.first = self.columns
        self.filled = 0
        self.reached = self.position[:0]

    def fill(self, step: Step | None) -> None:
        """Writes a step to the buffers.

        Args:
            step: The tokens that run under a row; None for dummy runs and for steps whose requests ask for nothing.
        """
        tokens = int(step.tokens[-1]) + 1 if step is not None and len(step.tokens) else 0
        size = max(tokens, self.filled)
        if not size:
            return
        host = np.zeros((3, size), np.int64)
        if step is not None:
            host[:, step.tokens] = step.rows, step.positions, step.first
        # A new tensor for every step: the copy may still be waiting when the next step is laid out.
        self.columns[:, :size].copy_(send(host, self.columns.device))
        self.filled = tokens
        self.reached = self.position[:tokens]

    def borrow(self, tokens: NDArray[np.int64], row: int) -> None:
        """Lets tokens without a row ([tokens], batch indices) run under this one until buffers are filled again."""
        if len(tokens):
            self.slot.index_fill_(0, send(tokens, self.slot.device), row)
            self.filled = max(self.filled, int(tokens.max()) + 1)

    def advance(self) -> None:
        """Writes a step like the last one, in which every request had one token, one position further on."""
        self.reached.add_(1)


class GraphHook:
    """State of one hook point in one worker on CUDA.

    Attributes:
        index: Index of the hook point among those of the engine.
        name: Name of the hook point.
        table: The edits here; None without an SAE.
        edits: That table, or without an SAE one with a single latent that is never edited.
        tap: [max_tokens, d_model] float32, the stream of the tokens of these rows.
        readings: What was read here and waits to be fetched.
        spare: The last row, of tokens that are sampled and have none.
        sampled: What this step puts aside for a sample.
    """

    def __init__(
        self, index: int, name: str, table: EditTable | None, conditions: Conditions, buffers: Buffers, d_model: int
    ) -> None:
        device = buffers.columns.device
        rows = conditions.hook.shape[0]
        self.spare = rows - 1
        self.index = index
        self.name = name
        self.table = table
        self.conditions = conditions
        self.buffers = buffers
        self.edits = table if table is not None else EditTable(Bank.nothing(d_model, device), rows, 1)
        self.tap = torch.zeros(buffers.slot.shape[0], d_model, dtype=torch.float32, device=device)
        self.readings = Readings(self.edits.bank)
        self.sampled: Chosen | None = None
        self.edits.admit(self.spare, Steering(), 0, lambda _: NO_CONDITION, tapped=True)

    def idle(self) -> None:
        """Keeps what the last step read; the kernel does nothing to a step whose slots are 0."""
        self.drain()
        self.sample()

    def begin_step(self, step: Step, capturing: Sequence[Wanted], readers: ReadersBySae, token_ids: Tensor) -> None:
        """Keeps what the last step read, and says what this one reads."""
        self.drain()
        self.readings.ask(capturing, readers, token_ids)
        self.sample()

    def sample(self) -> None:
        """Says what this step puts aside for a sample."""
        self.sampled = SAMPLER.wanted
        if self.sampled is not None:
            self.buffers.borrow(self.sampled.bare, self.spare)

    def write(self) -> None:
        """Writes the rows that were filled or cleared."""
        self.edits.write()

    def drain(self) -> None:
        """Keeps what the last forward pass left in the tap; for captures, which are views, the tap is copied once."""
        x = self.tap.clone() if self.readings.capturing else self.tap
        self.readings.keep(x)
        self.readings.idle()
        if self.sampled is not None:
            SAMPLER.put(self.index, taken(self.tap, self.sampled.at), self.sampled)
            self.sampled = None

    def run(self, hidden: Tensor, residual: Tensor | None) -> None:
        """The op's body: launches the kernels, which edit the stream ([tokens, d_model], contiguous) in place."""
        tokens, d_model = hidden.shape
        block = 1 << max(4, (d_model - 1).bit_length())
        form: dict[str, Any] = {"HAS_RESIDUAL": residual is not None, "BLOCK": block}
        streams = (hidden, hidden if residual is None else residual)
        if self.table is not None:
            self.decide(streams, tokens, form)
        e, b, at, c = self.edits, self.edits.bank, self.buffers, self.conditions
        kernel.edit[(tokens,)](
            *streams, at.slot, at.position, at.first, c.truths, self.tap, e.tapping,
            b.W_enc, b.W_dec, b.bias, b.threshold, b.gain, b.offset,
            e.latent, e.alpha, e.beta, e.bits, e.any_of, e.used, e.always, e.bounds, e.dose_max, e.nudge,
            e.counts, e.in_force, d_model, e.sheet.words.stride(0), **form,
        )  # fmt: skip

    def decide(self, streams: tuple[Tensor, Tensor], tokens: int, form: dict[str, Any]) -> None:
        """Launches the kernels that decide conditions."""
        b, at, c = self.edits.bank, self.buffers, self.conditions
        columns: Any = c.columns
        kernel.decide[(tokens,)](
            *streams, at.slot, at.position, c.truths, b.W_enc, b.bias, b.threshold, b.gain, b.offset,
            c.hook, c.latent, c.value, c.sign, c.so_far, c.fired_at, c.decided, self.index,
            streams[0].shape[1], c.sheet.words.stride(0), C=columns, **form,
        )  # fmt: skip
        kernel.lasting[(tokens,)](
            at.slot, at.position, c.truths, c.hook, c.so_far, c.fired_at, self.index, c.sheet.words.stride(0), C=columns
        )
