"""Conditions of edits and aborts, decided inside the forward pass.

1. A request's distinct conditions take the columns c = 0 … C − 1 of its row.
2. At every hook point, the conditions that read there are decided for the step's tokens. ``fired_at`` keeps the first
   position at which each was ever met: "so far" is then ``fired_at ≤ position``, which stays right when tokens are
   computed in chunks, in one batch, or again after a preemption.
3. The truths of a token are one integer, bit c for condition c, so that "all" and "any" are a mask and a comparison.
4. After the last hook point, ``aborted_at`` keeps the first position at which each abort held.
5. Steps 2 and 4 count the tokens that they ran for. A condition that was never decided looks like one that was never
   met: only these counts, compared with the tokens that were laid out, tell the two apart.
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
from featurehub.engine.sheet import Column, Draft, Sheet
from featurehub.report import Aborted

__all__ = ["NEVER", "NO_CONDITION", "ConditionState", "Conditions", "Mask", "Outcome"]

CONDITION = ("hook", "latent", "value", "sign", "so_far", "fired_at")
ABORT = ("abort_bits", "abort_any", "abort_first", "abort_last", "aborted_at")

NEVER = LAST_POSITION
"""The position of what has not happened."""


class Mask(NamedTuple):
    """A ``when`` over the conditions of its row.

    Attributes:
        bits: The conditions that it names, bit c for condition c.
        any: Whether one of them suffices.
    """

    bits: int
    any: bool


NO_CONDITION = Mask(0, False)
"""All of no bits: always met."""


class ConditionState(NamedTuple):
    """What a preempted request keeps while it has no row.

    Attributes:
        fired_at: [C] first position at which each condition was met.
        aborted_at: [C] first position at which each abort held.
    """

    fired_at: Tensor
    aborted_at: Tensor


class Outcome(NamedTuple):
    """What came of the conditions of a request.

    Attributes:
        aborted: The first of its aborts to hold, or None.
        decided: By hook point where it has conditions, at how many tokens they were decided.
    """

    aborted: Aborted | None
    decided: dict[int, int]


class Conditions:
    """The conditions and aborts of all rows, at most C = ``columns`` of each in a row.

    Tensors lie on the op's device; ``judged``, ``held``, ``aborting`` and ``at`` are NumPy arrays.

    Attributes:
        columns: C.
        sheet: What is written and counted for each row. The tensors with rows are its columns.
        hooks: Number of hook points.
        hook: [rows, C] index of the hook point that the condition reads; −1 for none.
        latent: [rows, C] row of its latent in the bank there.
        value: [rows, C] activation that it compares with.
        sign: [rows, C] 1 for above, −1 for below.
        so_far: [rows, C] whether an earlier token may meet it too.
        fired_at: [rows, C] first position at which it was met.
        abort_bits: [rows, C] the conditions of the abort, as in ``Mask``; 0 for no abort.
        abort_any: [rows, C] whether one of them suffices.
        abort_first: [rows, C] first position at which the abort may hold.
        abort_last: [rows, C] the position after the last one.
        aborted_at: [rows, C] first position at which it held.
        truths: [max_tokens] by batch index, the conditions that the token meets, bit c for condition c.
        decided: [rows, hooks] number of tokens at which conditions were decided, counted by the op.
        judged: [rows] number of tokens at which aborts were judged.
        weights: [C] the bits 2 ** c.
        held: [rows] whether the row has conditions.
        aborting: [rows] whether it has aborts.
        at: By hook point, [rows] whether the row has conditions there.
        clearing: The truths of the last step's tokens, if any of them has conditions.
        resuming: By row, what its request had met before it was preempted, until ``write``.
    """

    def __init__(
        self, rows: int, columns: int, hooks: int, max_tokens: int, device: torch.device | str = "cpu"
    ) -> None:
        self.columns = columns
        self.hooks = hooks
        self.sheet = Sheet(rows, sheet_columns(columns, hooks), ("aborted_at", "decided"), device)
        self.hook, self.latent, self.value, self.sign, self.so_far, self.fired_at = map(self.sheet.column, CONDITION)
        self.abort_bits, self.abort_any, self.abort_first, self.abort_last, self.aborted_at = map(
            self.sheet.column, ABORT
        )
        self.decided = self.sheet.column("decided")
        self.truths = torch.zeros(max_tokens, dtype=torch.long, device=device)
        self.judged = np.zeros(rows, dtype=np.int64)
        self.weights = 2 ** torch.arange(columns, device=device)
        self.held = np.zeros(rows, dtype=bool)
        self.aborting = np.zeros(rows, dtype=bool)
        self.at: dict[int, np.ndarray] = {}
        self.clearing: Tensor | None = None
        self.resuming: dict[int, ConditionState] = {}

    def admit(
        self, row: int, steering: Steering, prompt_len: int, place: Callable[[Condition], tuple[int, int]]
    ) -> Callable[[When | None], Mask]:
        """Fills a row.

        Args:
            row: The row.
            steering: The request's steering.
            prompt_len: Number of tokens in the prompt.
            place: Gives a condition's hook point (its index) and the row of its latent in the bank there.

        Returns:
            A function that gives the mask of a ``when``.
        """
        distinct = list(dict.fromkeys(steering.conditions()))
        if not distinct:
            return unconditional
        places = [place(condition) for condition in distinct]
        draft = self.sheet.stage(row)
        draft.put("hook", [hook for hook, _ in places])
        draft.put("latent", [latent for _, latent in places])
        draft.put("value", [condition.value for condition in distinct])
        draft.put("sign", [1.0 if condition.op is Op.ABOVE else -1.0 for condition in distinct])
        draft.put("so_far", [condition.so_far for condition in distinct])
        for hook, _ in places:
            self.at.setdefault(hook, np.zeros(len(self.held), dtype=bool))[row] = True

        def mask(when: When | None) -> Mask:
            if when is None:
                return NO_CONDITION
            return Mask(sum({2 ** distinct.index(condition) for condition in when.conditions}), when.any)

        self.held[row] = True
        self.admit_aborts(row, draft, steering.aborts, prompt_len, mask)
        return mask

    def admit_aborts(
        self, row: int, draft: Draft, aborts: Sequence[Abort], prompt_len: int, mask: Callable[[When | None], Mask]
    ) -> None:
        """Fills a staged row's aborts."""
        masks = [mask(abort.when) for abort in aborts]
        bounds = [abort.positions.bounds(prompt_len) for abort in aborts]
        draft.put("abort_bits", [each.bits for each in masks])
        draft.put("abort_any", [each.any for each in masks])
        draft.put("abort_first", [first for first, _ in bounds])
        draft.put("abort_last", [last for _, last in bounds])
        self.aborting[row] = bool(aborts)

    def release(self, row: int) -> ConditionState | None:
        """Clears a row, from the next ``write`` on.

        Returns:
            What ``resume`` needs if the request comes back; None where it has no conditions.
        """
        if not self.held[row]:
            return None
        if row in self.sheet.staged:
            self.write()
        fired = ConditionState(self.fired_at[row].clone(), self.aborted_at[row].clone())
        self.sheet.stage(row)
        self.judged[row] = 0
        self.held[row] = self.aborting[row] = False
        for rows in self.at.values():
            rows[row] = False
        return fired

    def resume(self, row: int, fired: ConditionState) -> None:
        """Restores what the request in this row had met before it was preempted, from the next ``write`` on."""
        self.resuming[row] = fired

    def write(self) -> None:
        """Writes all rows that were filled or cleared since the last time."""
        self.sheet.write()
        for row, fired in self.resuming.items():
            self.fired_at[row], self.aborted_at[row] = fired
        self.resuming.clear()

    def move(self, hook: int, rows: Tensor) -> None:
        """Follows the latents of a hook point to their ``rows`` in another bank ([latents] of the one before)."""
        self.write()
        here = self.hook == hook
        self.latent.copy_(torch.where(here, rows[torch.where(here, self.latent, 0)], self.latent))

    def begin_step(self, step: Step) -> None:
        """Clears the truths of a step's tokens."""
        self.clearing = self.truths[: int(step.tokens[-1]) + 1] if self.held[step.rows].any() else None
        self.begin_again()

    def begin_again(self) -> None:
        """Clears the truths of a step whose tokens run under the same rows as those of the last one."""
        if self.clearing is not None:
            self.clearing.zero_()

    def decide(self, hook: int, x: Tensor, step: DeviceStep, bank: Bank) -> None:
        """Step 2, for the tokens whose rows have a condition at this hook point.

        Args:
            hook: Index of the hook point.
            x: [tokens, d_model] float32, the stream of these tokens.
            step: The same tokens.
            bank: The SAEs of the hook point.
        """
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

    def snapshot(self, row: int, aborts: Sequence[Abort]) -> Callable[[], Outcome]:
        """A function that gives what came of the row's conditions until now; calling it may wait for the device."""
        if not self.held[row]:
            return lambda: Outcome(None, {})
        if row in self.sheet.staged:
            self.write()
        hooks, ask = [hook for hook, rows in self.at.items() if rows[row]], self.sheet.ask(row)

        def read() -> Outcome:
            decided = ask("decided")
            return Outcome(first_of(aborts, ask("aborted_at")), {hook: decided[hook] for hook in hooks})

        return read


def sheet_columns(count: int, hooks: int) -> dict[str, Column]:
    """The columns of a row."""
    integers, floats, flags = (Column(count, dtype) for dtype in (torch.long, torch.float32, torch.bool))
    never = Column(count, torch.long, NEVER)
    return {
        "hook": Column(count, torch.long, -1), "latent": integers, "value": floats,
        "sign": Column(count, torch.float32, 1.0), "so_far": flags, "fired_at": never,
        "abort_bits": integers, "abort_any": flags, "abort_first": integers, "abort_last": integers,
        "aborted_at": never, "decided": Column(hooks, torch.long),
    }  # fmt: skip


def unconditional(when: When | None) -> Mask:
    """The mask of an edit in a row without conditions."""
    assert when is None
    return NO_CONDITION


def first_of(aborts: Sequence[Abort], positions: Sequence[int]) -> Aborted | None:
    """The first of the aborts to hold, at one of these positions each; None where none has held."""
    position = min(positions[: len(aborts)], default=NEVER)
    if position == NEVER:
        return None
    index = positions.index(position)
    return Aborted(event=aborts[index].event, index=index, position=position)


def keep_first(at: Tensor, rows: Tensor, positions: Tensor) -> None:
    """Lowers ``at`` ([rows, C]) to the least of the positions ([tokens, C]) of each row's tokens."""
    at.scatter_reduce_(0, rows[:, None].expand_as(positions), positions, "amin")


def is_met(truths: Tensor, bits: Tensor, any_of: Tensor) -> Tensor:
    """Whether a token's truths contain all bits of a mask or, where ``any_of`` is true, at least one."""
    common = truths & bits
    return torch.where(any_of, common != 0, common == bits)
