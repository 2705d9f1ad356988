"""The edits of one hook point as table rows.

1. What a request's edits come to (``featurehub.engine.amounts``) is written into its row: what takes a slot k costs a
   dot product and an axpy for each token, whatever the size of the SAE; what is summed is summed once, into ``nudge``.
2. What the op needs of a step's rows is gathered, and kept while the next step has the same rows.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import embedding_bag

from featurehub.edits import Steering, When
from featurehub.engine.amounts import Amounts, Slot, Sum
from featurehub.engine.bank import Bank, Encoders
from featurehub.engine.conditions import Mask
from featurehub.engine.rows import Batch, Step
from featurehub.engine.sheet import Column, Draft, Sheet
from featurehub.report import Wire

__all__ = ["EditTable", "RowEdits"]

COUNTS = 5
SEEN, STEERED, DOSE_SUM, DOSE_MAX, CLIPPED = range(COUNTS)
SINGLE = ("dose_max", "used", "always", "tapping")
SUMMED = ("summed_latent", "summed_beta")
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

    Tensors lie on the bank's device; NumPy arrays, on the host, say so.

    Attributes:
        bank: The SAEs of the hook point.
        max_edits: K.
        sheet: What is written and counted for each row. The tensors with rows are its columns, but for ``nudge``.
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
        tapping: [rows] 1 if the row's request captures or reads here, else 0.
        counts: [rows, 5] SEEN, STEERED, DOSE_SUM, DOSE_MAX and CLIPPED, written by the op.
        expected: [rows] NumPy, what SEEN must come to.
        holds: [rows] NumPy, whether there is any edit.
        taken: [rows] NumPy, whether a request has filled the row.
        host_bounds: [rows, 2] NumPy, positions that the steering applies to, for laying out steps.
        slots: [rows] NumPy, the same as ``used``.
        conditional: By row, for each edit with a condition its index in the request and its slot.
        summed: The largest number of edits that are summed into ``nudge`` in a row that is not written yet.
        tallies: What is not in ``counts`` yet: adding up many steps at once costs as much as adding up one.
        gathered: What the rows of the last step of generating requests hold, until a row changes.
    """

    def __init__(self, bank: Bank, rows: int, max_edits: int) -> None:
        self.bank = bank
        self.max_edits = max_edits
        self.sheet = Sheet(rows, columns(max_edits), ("counts", "in_force"), bank.W_dec.device)
        self.latent, self.alpha, self.beta = map(self.sheet.column, ("latent", "alpha", "beta"))
        self.bits, self.any_of, self.in_force = map(self.sheet.column, ("bits", "any_of", "in_force"))
        self.bounds, self.counts = self.sheet.column("bounds"), self.sheet.column("counts")
        self.dose_max, self.used, self.always, self.tapping = (self.sheet.column(name)[:, 0] for name in SINGLE)
        self.nudge = torch.zeros(rows, bank.d_model, dtype=torch.float32, device=bank.W_dec.device)
        self.expected = np.zeros(rows, dtype=np.int64)
        self.holds = np.zeros(rows, dtype=bool)
        self.taken = np.zeros(rows, dtype=bool)
        self.host_bounds = np.zeros((rows, 2), dtype=np.int64)
        self.slots = np.zeros(rows, dtype=np.int64)
        self.conditional: dict[int, list[tuple[int, int]]] = {}
        self.summed = 0
        self.tallies: list[StepTally] = []
        self.gathered: tuple[np.ndarray, RowEdits] | None = None

    def admit(
        self, row: int, steering: Steering, prompt_len: int, mask: Callable[[When | None], Mask], tapped: bool = False
    ) -> None:
        """Fills a row, from the next ``write`` on. One that nothing is asked of stays blank.

        Args:
            row: The row.
            steering: The request's whole steering.
            prompt_len: Number of tokens in the prompt.
            mask: Gives the condition bits of a ``when``.
            tapped: Whether the request captures or reads here.
        """
        slots, sums, conditional = Amounts.of(steering.edits, self.bank, mask)
        if not (slots or sums or tapped):
            return
        bounds, draft = steering.bounds(prompt_len), self.sheet.stage(row)
        draft.put("dose_max", steering.dose_max)
        if tapped:
            draft.put("tapping", 1)
        if slots or sums:
            draft.put("bounds", bounds)
            draft.put("always", bool(sums) or len(slots) > len(conditional))
        if slots:
            self.fill_slots(draft, slots, bool(conditional))
        if sums:
            self.fill_sum(draft, sums)
        if conditional:
            self.conditional[row] = conditional
        self.slots[row], self.holds[row], self.taken[row] = len(slots), bool(slots or sums), True
        self.host_bounds[row] = bounds

    def fill_slots(self, draft: Draft, slots: Sequence[Slot], conditional: bool) -> None:
        """Stages what takes a slot; ``conditional`` says whether any of it waits for a condition."""
        latents, alpha, beta, masks = zip(*slots, strict=True)
        draft.put("used", len(slots))
        draft.put("latent", latents)
        draft.put("alpha", alpha)
        if conditional:
            draft.put("beta", beta)
            draft.put("bits", [mask.bits for mask in masks])
            draft.put("any_of", [mask.any for mask in masks])

    def fill_sum(self, draft: Draft, sums: Sequence[Sum]) -> None:
        """Stages what is summed into ``nudge``."""
        latents, beta = zip(*sums, strict=True)
        draft.put("summed_latent", latents)
        draft.put("summed_beta", beta)
        self.summed = max(self.summed, len(sums))

    def release(self, row: int) -> None:
        """Clears the row, from the next ``write`` on."""
        if not self.taken[row]:
            return
        self.sheet.stage(row)
        self.expected[row] = self.slots[row] = 0
        self.holds[row] = self.taken[row] = False
        self.conditional.pop(row, None)

    def write(self) -> None:
        """Writes all rows that were filled or cleared since the last time."""
        written = self.sheet.write()
        if written is None:
            return
        rows, words = written
        self.gathered = None
        if self.summed:
            latents, beta = (self.sheet.view(words, name)[:, : self.summed].contiguous() for name in SUMMED)
            self.nudge.index_copy_(
                0, rows, embedding_bag(latents, self.bank.W_dec, mode="sum", per_sample_weights=beta)
            )
        else:
            self.nudge.index_fill_(0, rows, 0.0)
        self.summed = 0

    def move(self, bank: Bank) -> None:
        """Edits with another bank from now on. What its rows sum was summed with the one before, and stays."""
        self.write()
        self.latent.copy_(self.bank.rows_in(bank)[self.latent])
        self.bank, self.gathered = bank, None

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

    def snapshot(self, row: int) -> Callable[[], Wire]:
        """A function that gives the row's ``HookCounts`` as they are now; on CUDA, it may wait for the device."""
        self.fold()
        if row in self.sheet.staged:
            self.write()
        ask, expected, conditional = self.sheet.ask(row), int(self.expected[row]), self.conditional.get(row, [])

        def read() -> Wire:
            seen, steered, dose_sum, dose_max, clipped = ask("counts")
            return {
                "seen_tokens": int(seen),
                "expected_tokens": expected,
                "steered_tokens": int(steered),
                "dose_sum": dose_sum,
                "dose_max": dose_max,
                "clipped": int(clipped),
                "in_force": {index: int(ask("in_force")[k]) for index, k in conditional},
            }

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


def columns(max_edits: int) -> dict[str, Column]:
    """The columns of a row."""
    integers, floats, flags = (Column(max_edits, dtype) for dtype in (torch.long, torch.float32, torch.bool))
    number, flag = Column(1, torch.long), Column(1, torch.bool)
    return {
        "latent": integers, "alpha": floats, "beta": floats, "bits": integers, "any_of": flags,
        **dict(zip(SUMMED, (integers, floats), strict=True)),
        "bounds": Column(2, torch.long), "dose_max": Column(1, torch.float32, 1.0), "used": number, "always": flag,
        "tapping": number, "counts": Column(COUNTS, torch.float32), "in_force": floats,
    }  # fmt: skip
