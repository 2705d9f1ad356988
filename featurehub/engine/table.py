"""The edits of one hook point as table rows.

An edit changes its latent's activation a by an affine amount, so every mode is two numbers:

    change = alpha · a + beta
    nudge   alpha = 0           beta = value
    pin     alpha = −1          beta = value
    mul     alpha = value − 1   beta = 0
    ablate  alpha = −1          beta = 0

1. Of an edit without a condition, ``beta · W_dec`` is the same for every token: it is summed once, into ``nudge``.
2. What is left (alpha, and everything of an edit with a condition) takes a slot k of the row: K dot products and K
   axpys per token, whatever the size of the SAE.
3. Edits that change nothing take neither, so that weight 0 is exactly the same as no edit.
4. What the op needs of a step's rows is gathered from the table and the bank, and kept while the next step has the
   same rows, which it has as long as the same requests generate.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from featurehub.edits import LatentEdit, Steering, When
from featurehub.engine.bank import Bank, Encoders
from featurehub.engine.conditions import Mask
from featurehub.engine.rows import Batch, Step
from featurehub.features import Mode
from featurehub.report import HookCounts

__all__ = ["EditTable", "RowEdits"]

NOTHING = (0.0, 0.0)
SEEN, STEERED, DOSE_SUM, DOSE_MAX, CLIPPED = range(5)
TALLIES_KEPT = 64


class RowEdits(NamedTuple):
    """What g rows hold in their first k slots. All tensors are float32.

    Attributes:
        encoders: What reads the slots' latents.
        W_dec: [g, k, d_model] decoder rows of the slots' latents.
        alpha: [g, k] factor of the latent's activation.
        beta: [g, k] constant beside it; 0 for edits without a condition.
        nudge: [g, d_model] summed constants of all edits without a condition.
        dose_max: [g] bound on ‖Δ‖/‖x‖.
    """

    encoders: Encoders
    W_dec: Tensor
    alpha: Tensor
    beta: Tensor
    nudge: Tensor
    dose_max: Tensor


class StepTally(NamedTuple):
    """What the op did to a step's tokens.

    Attributes:
        rows: [tokens] their rows.
        counted: [tokens] whether the token was computed for the first time with an edit in force.
        dose: [tokens] ‖x' − x‖/‖x‖.
        scale: [tokens] factor by which the dose guard scaled Δ; 1 where it did not.
    """

    rows: Tensor
    counted: Tensor
    dose: Tensor
    scale: Tensor


class EditTable:
    """The edits of one hook point, a row for each request with K = ``max_edits`` slots.

    Tensors lie on the bank's device; ``expected``, ``holds``, ``host_bounds`` and ``slots`` are NumPy arrays.

    Attributes:
        bank: The SAEs of the hook point.
        max_edits: K.
        latent: [rows, K] row of the bank that the slot's edit reads and writes with.
        alpha: [rows, K] factor of the latent's activation.
        beta: [rows, K] constant beside it; 0 for an edit without a condition, whose constant is in ``nudge``.
        bits: [rows, K] the conditions that the edit waits for, bit c for condition c; 0 for none.
        any_of: [rows, K] whether one of them suffices.
        in_force: [rows, K] number of tokens at which the edit was in force, counted by the op.
        bounds: [rows, 2] the first steered position and the one after the last; both 0 without edits.
        dose_max: [rows] bound on ‖Δ‖/‖x‖.
        nudge: [rows, d_model] Σ beta · W_dec over the edits without a condition.
        used: [rows] number of slots taken.
        always: [rows] whether there is an edit without a condition.
        counts: [rows, 5] SEEN, STEERED, DOSE_SUM, DOSE_MAX and CLIPPED, written by the op.
        expected: [rows] what SEEN must come to.
        holds: [rows] whether there is any edit.
        host_bounds: [rows, 2] positions that the steering applies to, for laying out steps.
        slots: [rows] the same as ``used``.
        conditional: By row, for each edit with a condition its index in the request and its slot.
        tallies: What is not in ``counts`` yet: adding up many steps at once costs as much as adding up one.
        gathered: What the rows of the last step of generating requests hold, until a row changes.
    """

    def __init__(self, bank: Bank, rows: int, max_edits: int) -> None:
        # Every dtype is given: vLLM builds models under a default dtype of its own.
        slots, device = (rows, max_edits), bank.W_dec.device
        self.bank = bank
        self.max_edits = max_edits
        self.latent = torch.zeros(slots, dtype=torch.long, device=device)
        self.alpha = torch.zeros(slots, dtype=torch.float32, device=device)
        self.beta = torch.zeros(slots, dtype=torch.float32, device=device)
        self.bits = torch.zeros(slots, dtype=torch.long, device=device)
        self.any_of = torch.zeros(slots, dtype=torch.bool, device=device)
        self.in_force = torch.zeros(slots, dtype=torch.float32, device=device)
        self.bounds = torch.zeros(rows, 2, dtype=torch.long, device=device)
        self.dose_max = torch.ones(rows, dtype=torch.float32, device=device)
        self.nudge = torch.zeros(rows, bank.d_model, dtype=torch.float32, device=device)
        self.used = torch.zeros(rows, dtype=torch.long, device=device)
        self.always = torch.zeros(rows, dtype=torch.bool, device=device)
        self.counts = torch.zeros(rows, 5, dtype=torch.float32, device=device)
        self.expected = np.zeros(rows, dtype=np.int64)
        self.holds = np.zeros(rows, dtype=bool)
        self.host_bounds = np.zeros((rows, 2), dtype=np.int64)
        self.slots = np.zeros(rows, dtype=np.int64)
        self.conditional: dict[int, list[tuple[int, int]]] = {}
        self.tallies: list[StepTally] = []
        self.gathered: tuple[np.ndarray, RowEdits] | None = None

    def admit(
        self, row: int, steering: Steering, edits: Sequence[tuple[int, LatentEdit]], prompt_len: int,
        mask: Callable[[When | None], Mask],
    ) -> None:  # fmt: skip
        """Fills a row.

        Args:
            row: The row.
            steering: The request's whole steering, for its positions and its dose_max.
            edits: Its edits at this hook point, each with its index in the request.
            prompt_len: Number of tokens in the prompt.
            mask: Gives the condition bits of a ``when``.
        """
        self.gathered = None
        moving = [(index, edit) for index, edit in edits if affine(edit) != NOTHING]
        slotted = [(index, edit) for index, edit in moving if edit.when is not None or affine(edit)[0]]
        self.nudge[row] = self.summed([edit for _, edit in moving if edit.when is None])
        self.fill(row, [edit for _, edit in slotted], [mask(edit.when) for _, edit in slotted])
        if any(edit.when is not None for _, edit in slotted):
            self.conditional[row] = [(index, k) for k, (index, edit) in enumerate(slotted) if edit.when is not None]
        self.slots[row] = len(slotted)
        self.always[row] = any(edit.when is None for _, edit in moving)
        self.holds[row] = bool(moving)
        self.host_bounds[row] = steering.positions.bounds(prompt_len)
        self.bounds[row] = torch.from_numpy(self.host_bounds[row] * self.holds[row])
        self.dose_max[row] = steering.dose_max

    def summed(self, edits: Sequence[LatentEdit]) -> Tensor:
        """Σ beta · W_dec over edits without a condition: [d_model]."""
        device = self.nudge.device
        latents = torch.tensor([self.bank.row_written(edit) for edit in edits], dtype=torch.long)
        beta = torch.tensor([affine(edit)[1] for edit in edits], dtype=torch.float32)
        return beta.to(device) @ self.bank.W_dec[latents.to(device)]

    def fill(self, row: int, edits: Sequence[LatentEdit], conditions: Sequence[Mask]) -> None:
        """Writes the row's slots, column by column."""
        free = [0] * (self.max_edits - len(edits))
        numbers = [affine(edit) for edit in edits]
        columns = {
            self.latent: [self.bank.row_written(edit) for edit in edits],
            self.alpha: [alpha for alpha, _ in numbers],
            self.beta: [beta if edit.when else 0.0 for (_, beta), edit in zip(numbers, edits, strict=True)],
            self.bits: [condition.bits for condition in conditions],
            self.any_of: [condition.any for condition in conditions],
        }
        for column, values in columns.items():
            column[row] = torch.tensor(values + free, dtype=column.dtype)
        self.used[row] = len(edits)

    def release(self, row: int) -> None:
        """Clears the row."""
        self.gathered = None
        for column in (self.latent, self.alpha, self.beta, self.bits, self.any_of, self.in_force, self.nudge):
            column[row] = 0
        self.counts[row] = self.bounds[row] = self.used[row] = self.expected[row] = self.slots[row] = 0
        self.holds[row] = self.always[row] = False
        self.conditional.pop(row, None)

    def steered(self, step: Step) -> Step:
        """The tokens of the step that are edited here."""
        chosen = self.holds[step.rows]
        if chosen.any():
            first, last = self.host_bounds[step.rows].T
            chosen &= (step.positions >= first) & (step.positions < last)
        return step.only(chosen)

    def expect(self, batch: Batch) -> None:
        """Counts those of a batch's tokens as expected that are edited here. A row stands in it once."""
        first, last = self.host_bounds[batch.rows].T
        inside = np.minimum(batch.positions + batch.tokens, last) - np.maximum(batch.positions, first)
        self.expected[batch.rows] += np.maximum(inside, 0) * self.holds[batch.rows]

    def generating(self, rows: np.ndarray) -> RowEdits:
        """The same as ``gather``, kept for a next step with the same rows."""
        if self.gathered is None or not np.array_equal(self.gathered[0], rows):
            self.gathered = rows, self.gather(rows)
        return self.gathered[1]

    def gather(self, rows: np.ndarray) -> RowEdits:
        """What these rows hold: at most about 2 · max_edits · d_model floats for each."""
        at, slots = torch.from_numpy(rows), int(self.slots[rows].max())
        latents = self.latent[at, :slots]
        return RowEdits(
            encoders=self.bank.encoders(latents),
            W_dec=self.bank.W_dec[latents],
            alpha=self.alpha[at, :slots],
            beta=self.beta[at, :slots],
            nudge=self.nudge[at],
            dose_max=self.dose_max[at],
        )

    def snapshot(self, row: int) -> Callable[[], HookCounts]:
        """A function that gives the row's counts as they are now; on CUDA, calling it waits for the device."""
        self.fold()
        counts, in_force, expected = self.counts[row].clone(), self.in_force[row].clone(), int(self.expected[row])
        conditional = self.conditional.get(row, [])

        def read() -> HookCounts:
            seen, steered, dose_sum, dose_max, clipped = counts.tolist()
            return HookCounts(
                seen_tokens=int(seen),
                expected_tokens=expected,
                steered_tokens=int(steered),
                dose_sum=dose_sum,
                dose_max=dose_max,
                clipped=int(clipped),
                in_force={index: int(in_force[k]) for index, k in conditional},
            )

        return read

    def tally(self, tally: StepTally) -> None:
        """Takes what the op did in a step; it reaches ``counts`` with the next ``fold``."""
        self.tallies.append(tally)
        if len(self.tallies) == TALLIES_KEPT:
            self.fold()

    def fold(self) -> None:
        """Adds the tallies to the counts of their rows."""
        if not self.tallies:
            return
        rows, counted, dose, scale = (torch.cat(column) for column in zip(*self.tallies, strict=True))
        self.tallies.clear()
        dose = dose * counted
        columns = [torch.ones_like(dose), counted, dose, torch.zeros_like(dose), (scale < 1.0) & counted]
        self.counts.index_add_(0, rows, torch.stack([column.float() for column in columns], dim=1))
        self.counts[:, DOSE_MAX].scatter_reduce_(0, rows, dose, "amax")


def affine(edit: LatentEdit) -> tuple[float, float]:
    """(alpha, beta) of an edit."""
    return {
        Mode.NUDGE: (0.0, edit.value),
        Mode.PIN: (-1.0, edit.value),
        Mode.MUL: (edit.value - 1.0, 0.0),
        Mode.ABLATE: (-1.0, 0.0),
    }[edit.mode]
