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
3. Edits that come to nothing take neither, so that weight 0 is exactly no edit.
"""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from featurehub.edits import LatentEdit, Steering, When
from featurehub.engine.bank import Bank
from featurehub.engine.conditions import Mask
from featurehub.engine.report import HookCounts
from featurehub.engine.rows import Step
from featurehub.features import Mode

__all__ = ["EditTable"]

NOTHING = (0.0, 0.0)
SEEN, STEERED, DOSE_SUM, DOSE_MAX, CLIPPED = range(5)


class EditTable:
    """[rows, K] arrays: latent, alpha, beta, bits, any_of (the condition), in_force (tokens, counted by the op).

    first, last: [rows] positions that are steered;  dose_max: [rows];  nudge: [rows, d_model]
    used:        [rows] slots;  holds, always: [rows] whether the row has any edit here, and one without a condition
    counts:      [rows, 5], written by the op;  expected: [rows], what its SEEN must come to
    """

    def __init__(self, bank: Bank, rows: int, max_edits: int) -> None:
        # dtypes are said everywhere: vLLM builds models under a default dtype of its own.
        slots = (rows, max_edits)
        self.bank = bank
        self.latent = torch.zeros(slots, dtype=torch.long)
        self.alpha = torch.zeros(slots, dtype=torch.float32)
        self.beta = torch.zeros(slots, dtype=torch.float32)
        self.bits = torch.zeros(slots, dtype=torch.long)
        self.any_of = torch.zeros(slots, dtype=torch.bool)
        self.in_force = torch.zeros(slots, dtype=torch.float64)
        self.dose_max = torch.ones(rows, dtype=torch.float32)
        self.nudge = torch.zeros(rows, bank.d_model, dtype=torch.float32)
        self.always = torch.zeros(rows, dtype=torch.bool)
        self.counts = torch.zeros(rows, 5, dtype=torch.float64)
        self.expected = np.zeros(rows, dtype=np.int64)
        self.first = np.zeros(rows, dtype=np.int64)
        self.last = np.zeros(rows, dtype=np.int64)
        self.used = np.zeros(rows, dtype=np.int64)
        self.holds = np.zeros(rows, dtype=bool)
        self.conditional: dict[int, list[tuple[int, int]]] = {}

    def admit(
        self, row: int, steering: Steering, edits: Sequence[tuple[int, LatentEdit]], prompt_len: int,
        mask: Callable[[When | None], Mask],
    ) -> None:  # fmt: skip
        """Fills the row with the request's edits at this hook point, each with its index in the request."""
        moving = [(index, edit) for index, edit in edits if affine(edit) != NOTHING]
        for index, edit in moving:
            self.place(row, index, edit, mask(edit.when))
        self.first[row], self.last[row] = steering.positions.bounds(prompt_len)
        self.dose_max[row] = steering.dose_max
        self.holds[row] = bool(moving)
        self.always[row] = any(edit.when is None for _, edit in moving)

    def place(self, row: int, index: int, edit: LatentEdit, condition: Mask) -> None:
        latent, (alpha, beta) = self.bank.row(edit.sae, edit.latent), affine(edit)
        if edit.when is None:
            self.nudge[row] += beta * self.bank.W_dec[latent]
            beta = 0.0
        if (alpha, beta) == NOTHING:
            return
        k = int(self.used[row])
        self.latent[row, k], self.alpha[row, k], self.beta[row, k] = latent, alpha, beta
        self.bits[row, k], self.any_of[row, k] = condition
        self.used[row] += 1
        if edit.when is not None:
            self.conditional.setdefault(row, []).append((index, k))

    def release(self, row: int) -> HookCounts | None:
        """Clears the row; its counts, where it held an edit."""
        counts = self.count(row) if self.holds[row] else None
        for column in (self.latent, self.alpha, self.beta, self.bits, self.any_of, self.in_force, self.nudge):
            column[row] = 0
        self.counts[row] = self.expected[row] = self.used[row] = 0
        self.holds[row] = self.always[row] = False
        self.conditional.pop(row, None)
        return counts

    def steered(self, step: Step) -> Step:
        """Those of the step's tokens that are edited here. Counts what the op must come to."""
        chosen = self.holds[step.rows]
        if chosen.any():
            chosen &= (step.positions >= self.first[step.rows]) & (step.positions < self.last[step.rows])
        selected = step.only(chosen)
        np.add.at(self.expected, selected.rows, 1)
        return selected

    def count(self, row: int) -> HookCounts:
        seen, steered, dose_sum, dose_max, clipped = self.counts[row].tolist()
        return HookCounts(
            seen_tokens=int(seen),
            expected_tokens=int(self.expected[row]),
            steered_tokens=int(steered),
            dose_sum=dose_sum,
            dose_max=dose_max,
            clipped=int(clipped),
            in_force={index: int(self.in_force[row, k]) for index, k in self.conditional.get(row, [])},
        )

    def tally(self, rows: Tensor, first: Tensor, in_force: Tensor, dose: Tensor, clipped: Tensor) -> None:
        """Adds a step's tokens to their rows' counts, without reading any of them back."""
        steered = (first & in_force).double()
        dose = dose.double() * steered
        columns = torch.stack([torch.ones_like(dose), steered, dose, torch.zeros_like(dose), clipped * steered], dim=1)
        self.counts.index_add_(0, rows, columns)
        self.counts[:, DOSE_MAX].scatter_reduce_(0, rows, dose, "amax")


def affine(edit: LatentEdit) -> tuple[float, float]:
    """(alpha, beta) of an edit."""
    return {
        Mode.NUDGE: (0.0, edit.value),
        Mode.PIN: (-1.0, edit.value),
        Mode.MUL: (edit.value - 1.0, 0.0),
        Mode.ABLATE: (-1.0, 0.0),
    }[edit.mode]
