"""The hook: one place in the model, and what happens to the stream there.

1. x = hidden + residual, in float32, for the tokens concerned
2. reading: tokens of requests that asked for it are captured, or encoded and their strongest latents kept
3. conditions: those that read here are decided (``featurehub.engine.conditions``)
4. steering: the edit equation of ``featurehub.steering`` for the steered tokens of all requests at once
5. writing: the stream is written once, into ``residual``, and ``hidden`` becomes zero, so that the sum is x' rounded
   to the model's dtype exactly once. Tokens whose Δ is nothing are not touched at all.

Where layers hand on a single tensor, that tensor is the stream, and it is written in place.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.library import Library
from vllm.utils.torch_utils import direct_register_custom_op

from featurehub.engine.conditions import Conditions, Tensors, is_met
from featurehub.engine.reading import Readers, Readings, Wanted
from featurehub.engine.rows import Step
from featurehub.engine.table import EditTable

if TYPE_CHECKING:
    from featurehub.engine.graph import GraphHook

__all__ = ["HOOKS", "Hook", "register_op"]

_GATHERED_FLOATS = 1 << 24


class Hook:
    """State of one hook point in one worker.

    index: its place among the engine's hook points
    table: None where there is no SAE: then it can only capture
    """

    def __init__(self, index: int, name: str, table: EditTable | None, conditions: Conditions) -> None:
        self.index = index
        self.name = name
        self.table = table
        self.conditions = conditions
        self.readings = Readings()
        self.steered: Tensors | None = None
        self.deciding: Tensors | None = None

    def rest(self) -> None:
        """A step without work: tokens pass."""
        self.steered = self.deciding = None
        self.readings.ask()

    def begin_step(self, step: Step, capturing: Sequence[Wanted], readers: Readers) -> None:
        self.readings.ask(capturing, readers)
        self.steered = some(self.table.steered(step)) if self.table is not None else None
        held = self.conditions.at.get(self.index)
        self.deciding = some(step.only(held[step.rows])) if held is not None else None

    def admit(self, row: int, reads: bool) -> None:
        """Nothing to prepare: each step names its readers."""

    def release(self, row: int) -> None:
        """Nothing to undo."""

    def drain(self) -> None:
        """Nothing is left behind: what is read is kept at once."""

    def run(self, hidden: Tensor, residual: Tensor | None) -> None:
        """The op's body. ``hidden`` and ``residual`` ([tokens, d_model], any float dtype) are edited in place."""
        table = self.table
        if self.readings.capturing or self.readings.readers:
            x = hidden.to(torch.float32, copy=True) if residual is None else hidden.float() + residual.float()
            self.readings.keep(x, table.bank if table is not None else None)
        if self.deciding is not None and table is not None:
            x = stream(hidden, residual, self.deciding.tokens)
            self.conditions.decide(self.index, x, self.deciding, table.bank)
        if self.steered is not None and table is not None:
            steer(hidden, residual, self.steered, table, self.conditions)


def some(step: Step) -> Tensors | None:
    return Tensors.of(step) if len(step.tokens) else None


def stream(hidden: Tensor, residual: Tensor | None, tokens: Tensor) -> Tensor:
    """x of these tokens, float32."""
    return hidden[tokens].float() if residual is None else hidden[tokens].float() + residual[tokens].float()


def steer(hidden: Tensor, residual: Tensor | None, steered: Tensors, table: EditTable, conditions: Conditions) -> None:
    """Steps 1, 4 and 5, in chunks that bound the gathered rows of the bank."""
    slots = int(table.slots[steered.rows.numpy()].max())
    chunk = max(1, _GATHERED_FLOATS // (max(slots, 1) * table.bank.d_model))
    for part in zip(*(column.split(chunk) for column in steered), strict=True):
        step = Tensors(*part)
        x = stream(hidden, residual, step.tokens)
        delta, in_force = change(x, step, slots, table, conditions)
        scale, dose = guard(x, delta, table.dose_max[step.rows])
        moved = delta.any(-1, keepdim=True)
        write(hidden, residual, step.tokens, x + scale * delta, moved)
        table.tally(step.rows, step.first, in_force, dose, scale[:, 0] < 1.0)


def change(x: Tensor, step: Tensors, slots: int, table: EditTable, conditions: Conditions) -> tuple[Tensor, Tensor]:
    """Δ ([tokens, d_model]), and the tokens at which any edit is in force."""
    delta = table.nudge[step.rows]
    if not slots:
        return delta, torch.ones(len(x), dtype=torch.bool)
    latents, alpha, beta = (column[step.rows, :slots] for column in (table.latent, table.alpha, table.beta))
    coefficient = alpha * table.bank.activations(x, latents) + beta
    in_force = table.always[step.rows]
    if table.conditional:
        met = conditions_met(step, slots, table, conditions)
        coefficient, in_force = coefficient * met, in_force | met.any(-1)
        table.in_force[:, :slots].index_add_(0, step.rows, (met & step.first[:, None]).float())
    return delta + torch.einsum("tk,tkd->td", coefficient, table.bank.W_dec[latents]), in_force


def conditions_met(step: Tensors, slots: int, table: EditTable, conditions: Conditions) -> Tensor:
    """Whether each slot that an edit has taken is in force: [tokens, slots]."""
    bits, any_of = table.bits[step.rows, :slots], table.any_of[step.rows, :slots]
    taken = torch.arange(slots) < table.used[step.rows][:, None]
    return taken & is_met(conditions.truths[step.tokens][:, None], bits, any_of)


def guard(x: Tensor, delta: Tensor, dose_max: Tensor) -> tuple[Tensor, Tensor]:
    """Scale ([tokens, 1]) that keeps ‖scale · Δ‖ ≤ dose_max · ‖x‖, and the dose that results ([tokens])."""
    size, norm = delta.norm(dim=-1), x.norm(dim=-1)
    scale = torch.where(size > dose_max * norm, dose_max * norm / size, 1.0)
    return scale[:, None], torch.where(norm > 0, scale * size / norm, 0.0)


def write(hidden: Tensor, residual: Tensor | None, tokens: Tensor, x: Tensor, moved: Tensor) -> None:
    """Puts the stream back for the tokens that moved."""
    target = hidden if residual is None else residual
    target[tokens] = torch.where(moved, x.to(target.dtype), target[tokens])
    if residual is not None:
        hidden[tokens] = torch.where(moved, 0, hidden[tokens])


HOOKS: dict[str, "Hook | GraphHook"] = {}
"""The hooks of this process's model, by name: the op finds its state here, as vLLM's attention op finds its layer."""

_LIBRARY = Library("featurehub", "FRAGMENT")


def edit_stream(hidden: Tensor, residual: Tensor | None, hook: str) -> None:
    width = hidden.shape[-1]
    HOOKS[hook].run(hidden.view(-1, width), residual.view(-1, width) if residual is not None else None)


def edit_stream_fake(hidden: Tensor, residual: Tensor | None, hook: str) -> None:
    """Nothing to infer: the op only mutates its arguments."""


def register_op() -> None:
    """Defines ``torch.ops.featurehub.edit_stream``. Safe to call again."""
    if not hasattr(torch.ops.featurehub, "edit_stream"):
        direct_register_custom_op(
            "edit_stream",
            edit_stream,
            mutates_args=["hidden", "residual"],
            fake_impl=edit_stream_fake,
            target_lib=_LIBRARY,
        )
