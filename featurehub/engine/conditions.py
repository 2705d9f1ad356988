"""Conditions of edits and aborts, decided inside the forward pass.

1. A request's distinct conditions take the columns c = 0 … C − 1 of its row.
2. At every hook point, the conditions that read there are decided for the step's tokens. ``fired_at`` keeps the first
   position at which each was ever met: "so far" is then ``fired_at ≤ position``, which stays right when tokens are
   computed in chunks, in one batch, or again after a preemption.
3. The truths of a token are one integer, bit c for condition c, so that "all" and "any" are a mask and a comparison.
4. After the last hook point, ``aborted_at`` keeps the first position at which each abort held.
5. Steps 2 and 4 count the tokens that they were done for. A condition that was never decided reads as one that was
   never met: only these counts, held against the tokens that were laid out, tell the two apart.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from featurehub.conditions import LAST_POSITION, Op
from featurehub.edits import Abort, Condition, Steering, When
from featurehub.engine.bank import Bank
from featurehub.engine.rows import DeviceStep, Step
from featurehub.report import Aborted

__all__ = ["NEVER", "NO_CONDITION", "ConditionState", "Conditions", "Mask"]

NEVER = LAST_POSITION


class Mask(NamedTuple):
    """Which bits decide, and whether ``any`` of them suffices."""

    bits: int
    any: bool


NO_CONDITION = Mask(0, False)
"""All of no bits: always met."""


class ConditionState(NamedTuple):
    """What a request without a row must keep: its ``fired_at`` and ``aborted_at``, each [C]."""

    fired_at: Tensor
    aborted_at: Tensor


class Conditions:
    """[rows, C] arrays: hook (index of the hook point, −1 for none), latent (in its bank), value, sign, so_far,
    fired_at; for aborts abort_bits, abort_any, abort_first, abort_last, aborted_at; and truths [max_tokens].

    decided: [rows, hooks] tokens at which the row's conditions were decided at each hook point, counted by the op
    judged:  [rows] tokens at which the row's aborts were judged
    """

    def __init__(
        self, rows: int, columns: int, hooks: int, max_tokens: int, device: torch.device | str = "cpu"
    ) -> None:
        shape = (rows, columns)
        self.columns = columns
        self.hooks = hooks
        self.hook = torch.full(shape, -1, dtype=torch.long, device=device)
        self.latent = torch.zeros(shape, dtype=torch.long, device=device)
        self.value = torch.zeros(shape, dtype=torch.float32, device=device)
        self.sign = torch.ones(shape, dtype=torch.float32, device=device)
        self.so_far = torch.zeros(shape, dtype=torch.bool, device=device)
        self.fired_at = torch.full(shape, NEVER, dtype=torch.long, device=device)
        self.abort_bits = torch.zeros(shape, dtype=torch.long, device=device)
        self.abort_any = torch.zeros(shape, dtype=torch.bool, device=device)
        self.abort_first = torch.zeros(shape, dtype=torch.long, device=device)
        self.abort_last = torch.zeros(shape, dtype=torch.long, device=device)
        self.aborted_at = torch.full(shape, NEVER, dtype=torch.long, device=device)
        self.truths = torch.zeros(max_tokens, dtype=torch.long, device=device)
        self.decided = torch.zeros(rows, hooks, dtype=torch.long, device=device)
        self.judged = np.zeros(rows, dtype=np.int64)
        self.weights = 2 ** torch.arange(columns, device=device)
        self.held = np.zeros(rows, dtype=bool)
        self.aborting = np.zeros(rows, dtype=bool)
        self.at: dict[int, np.ndarray] = {}

    def admit(
        self, row: int, steering: Steering, prompt_len: int, place: Callable[[Condition], tuple[int, int]]
    ) -> Callable[[When | None], Mask]:
        """Fills the row; gives back how a ``when`` reads. ``place`` says a condition's hook and latent."""
        distinct = list(dict.fromkeys(steering.conditions()))
        for c, condition in enumerate(distinct):
            hook, latent = place(condition)
            self.hook[row, c], self.latent[row, c] = hook, latent
            self.value[row, c], self.so_far[row, c] = condition.value, condition.so_far
            self.sign[row, c] = 1.0 if condition.op is Op.ABOVE else -1.0
            self.at.setdefault(hook, np.zeros(len(self.held), dtype=bool))[row] = True

        def mask(when: When | None) -> Mask:
            if when is None:
                return NO_CONDITION
            return Mask(sum({2 ** distinct.index(condition) for condition in when.conditions}), when.any)

        self.held[row] = bool(distinct)
        self.admit_aborts(row, steering.aborts, prompt_len, mask)
        return mask

    def admit_aborts(
        self, row: int, aborts: Sequence[Abort], prompt_len: int, mask: Callable[[When | None], Mask]
    ) -> None:
        for a, abort in enumerate(aborts):
            self.abort_bits[row, a], self.abort_any[row, a] = mask(abort.when)
            self.abort_first[row, a], self.abort_last[row, a] = abort.positions.bounds(prompt_len)
        self.aborting[row] = bool(aborts)

    def release(self, row: int) -> ConditionState:
        fired = ConditionState(self.fired_at[row].clone(), self.aborted_at[row].clone())
        self.hook[row] = -1
        self.fired_at[row] = self.aborted_at[row] = NEVER
        self.abort_bits[row], self.abort_any[row], self.abort_last[row] = 0, False, 0
        if self.held[row]:
            self.decided[row] = 0
        self.judged[row] = 0
        self.held[row] = self.aborting[row] = False
        for rows in self.at.values():
            rows[row] = False
        return fired

    def resume(self, row: int, fired: ConditionState) -> None:
        self.fired_at[row], self.aborted_at[row] = fired

    def begin_step(self, step: Step) -> None:
        if self.held[step.rows].any():
            self.truths[: int(step.tokens.max()) + 1] = 0

    def decide(self, hook: int, x: Tensor, step: DeviceStep, bank: Bank) -> None:
        """Step 2 for the tokens ``x`` ([tokens, d_model], float32) whose rows have a condition at this hook."""
        rows, positions = step.rows, step.positions[:, None]
        here = self.hook[rows] == hook
        a = bank.encoders(torch.where(here, self.latent[rows], 0)).activations(x[:, None])[:, 0]
        met = here & (self.sign[rows] * (a - self.value[rows]) > 0)
        keep_first(self.fired_at, rows, torch.where(met, positions, NEVER))
        lasting = here & self.so_far[rows] & (self.fired_at[rows] <= positions)
        self.truths[step.tokens] += ((met | lasting) * self.weights).sum(-1)
        self.decided[:, hook].index_add_(0, rows, torch.ones_like(rows))

    def abort(self, laid_out: Step) -> None:
        """Step 4, for the tokens whose rows have aborts."""
        np.add.at(self.judged, laid_out.rows, 1)
        step = DeviceStep.of(laid_out, self.hook.device)
        rows, positions = step.rows, step.positions[:, None]
        bits = self.abort_bits[rows]
        holds = is_met(self.truths[step.tokens][:, None], bits, self.abort_any[rows]) & (bits > 0)
        holds &= (positions >= self.abort_first[rows]) & (positions < self.abort_last[rows])
        keep_first(self.aborted_at, rows, torch.where(holds, positions, NEVER))

    def aborted(self, row: int, aborts: Sequence[Abort]) -> Callable[[], Aborted | None]:
        """The first abort of the row that held, to be read when somebody asks."""
        if not aborts:
            return lambda: None
        positions = self.aborted_at[row, : len(aborts)].clone()

        def read() -> Aborted | None:
            at = positions.tolist()
            first = at.index(min(at))
            return Aborted(event=aborts[first].event, index=first, position=min(at)) if min(at) < NEVER else None

        return read

    def decisions(self, row: int) -> Callable[[], dict[int, int]]:
        """By each hook point where the row has conditions, at how many tokens they were decided; to be read later."""
        hooks = [hook for hook, rows in self.at.items() if rows[row]]
        if not hooks:
            return dict
        decided = self.decided[row].clone()
        return lambda: {hook: int(decided[hook]) for hook in hooks}


def keep_first(at: Tensor, rows: Tensor, positions: Tensor) -> None:
    """Lowers the rows of ``at`` ([rows, C]) to the tokens' positions ([tokens, C])."""
    at.scatter_reduce_(0, rows[:, None].expand_as(positions), positions, "amin")


def is_met(truths: Tensor, bits: Tensor, any_of: Tensor) -> Tensor:
    """Whether a token's truths meet masks: all of the bits, or any of them."""
    common = truths & bits
    return torch.where(any_of, common != 0, common == bits)
