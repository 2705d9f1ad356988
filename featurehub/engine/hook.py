"""The hook: one place in the model, and what happens to the stream there.

1. x = hidden + residual, in float32, for the tokens concerned
2. reading: tokens of requests that ask for it are captured, or put aside to be encoded; so are those of a sample
3. conditions: those that read here are decided (``featurehub.engine.conditions``)
4. steering: the edit equation of ``featurehub.steering`` for the steered tokens of all requests at once
5. writing: the stream is written once, into ``residual``, and ``hidden`` becomes zero, so that the sum is x' rounded
   to the model's dtype exactly once. Tokens whose Δ is zero are not touched at all.

Where layers hand on a single tensor, that tensor is the stream, and it is written in place.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor
from torch.library import Library
from vllm.utils.torch_utils import direct_register_custom_op

from featurehub.engine.captures import Wanted
from featurehub.engine.conditions import Conditions, is_met
from featurehub.engine.overhead import METER
from featurehub.engine.readers import ReadersBySae
from featurehub.engine.reading import Readings
from featurehub.engine.rows import DeviceStep, Step
from featurehub.engine.sampler import SAMPLER, Chosen
from featurehub.engine.sheet import Place, place
from featurehub.engine.table import EditTable, RowEdits, StepTally

if TYPE_CHECKING:
    from featurehub.engine.graph import Buffers

__all__ = ["HOOKS", "CpuHook", "Hook", "make_buffers", "make_hook", "register_op"]


class Hook(Protocol):
    """State of one hook point in one worker: ``CpuHook``, or ``featurehub.engine.graph.GraphHook`` on CUDA.

    Attributes:
        index: Index of the hook point among those of the engine.
        name: Name of the hook point.
        table: The edits here; None without an SAE, where the stream can only be captured.
        readings: What was read here and waits to be fetched.
    """

    index: int
    name: str
    table: EditTable | None
    readings: Readings

    @property
    def edits(self) -> EditTable | None:
        """Where requests fill their rows: the table or, in captured graphs without an SAE, one that edits nothing."""
        ...

    def write(self) -> None:
        """Writes the rows of the table that were filled or cleared since the last time."""
        ...

    def begin_step(self, step: Step, capturing: Sequence[Wanted], readers: ReadersBySae, token_ids: Tensor) -> None:
        """Prepares for the forward pass of a step.

        Args:
            step: The tokens that run under a row.
            capturing: The requests whose streams to capture here.
            readers: The requests whose activations to read here, by SAE.
            token_ids: [tokens] of the whole batch.
        """
        ...

    def idle(self) -> None:
        """Prepares for a step without work: its tokens pass unchanged."""
        ...

    def drain(self) -> None:
        """Makes what the last step read ready to be fetched from ``readings``."""
        ...

    def run(self, hidden: Tensor, residual: Tensor | None) -> None:
        """The op's body: reads and edits the stream in place.

        Args:
            hidden: [tokens, d_model] in any float dtype.
            residual: The same; their sum is the stream. None where ``hidden`` is the stream.
        """
        ...


class CpuHook:
    """The hook in plain torch, as ``Hook`` describes it."""

    def __init__(self, index: int, name: str, table: EditTable | None, conditions: Conditions) -> None:
        self.index = index
        self.name = name
        self.table = self.edits = table
        self.conditions = conditions
        self.readings = Readings(table.bank if table is not None else None)
        self.steered: Step | None = None
        self.deciding: DeviceStep | None = None
        self.sampled: Chosen | None = None

    def idle(self) -> None:
        """Prepares for a step without work: its tokens pass unchanged."""
        self.steered = self.deciding = None
        self.sampled = SAMPLER.wanted
        self.readings.idle()

    def begin_step(self, step: Step, capturing: Sequence[Wanted], readers: ReadersBySae, token_ids: Tensor) -> None:
        """Prepares for a step: what to read, and which tokens are steered or decide conditions here."""
        self.readings.ask(capturing, readers, token_ids)
        self.sampled = SAMPLER.wanted
        steered = self.table.steered(step) if self.table is not None else None
        self.steered = steered if steered is not None and len(steered.rows) else None
        held = self.conditions.at.get(self.index)
        self.deciding = some(step.only(held[step.rows])) if held is not None else None

    def write(self) -> None:
        """Writes the rows of the table that were filled or cleared."""
        if self.table is not None:
            self.table.write()

    def drain(self) -> None:
        """Nothing to do: what is read is kept at once."""

    def run(self, hidden: Tensor, residual: Tensor | None) -> None:
        """Steps 1 to 5."""
        table = self.table
        if self.readings.capturing or self.readings.asked:
            x = hidden.to(torch.float32, copy=True) if residual is None else hidden.float() + residual.float()
            self.readings.keep(x)
        if self.sampled is not None:
            SAMPLER.put(self.index, own_stream(hidden, residual, self.sampled.at), self.sampled)
            self.sampled = None
        if self.deciding is not None and table is not None:
            x = stream(hidden, residual, self.deciding.tokens)
            self.conditions.decide(self.index, x, self.deciding, table.bank)
        if self.steered is not None and table is not None:
            steer(hidden, residual, self.steered, table, self.conditions)


def some(step: Step) -> DeviceStep | None:
    """The step on the CPU; None for a step without tokens."""
    return DeviceStep.of(step) if len(step.tokens) else None


def stream(hidden: Tensor, residual: Tensor | None, at: Place) -> Tensor:
    """x of these tokens: [tokens, d_model] float32."""
    return hidden[at].float() if residual is None else hidden[at].float() + residual[at]


def own_stream(hidden: Tensor, residual: Tensor | None, at: Place) -> Tensor:
    """The same as nobody else's memory."""
    x = stream(hidden, residual, at)
    return x.clone() if isinstance(at, slice) and residual is None else x


def steer(hidden: Tensor, residual: Tensor | None, step: Step, table: EditTable, conditions: Conditions) -> None:
    """Edits a step's tokens: those of a prompt share one row's edits, those of generating requests have a row each."""
    generating, prompts = step.parts()
    for prompt in prompts:
        steer_part(hidden, residual, prompt, table.gather(prompt.rows[:1]), table, conditions)
    if len(generating.rows):
        steer_part(hidden, residual, generating, table.generating(generating.rows), table, conditions)


def steer_part(
    hidden: Tensor, residual: Tensor | None, part: Step, gathered: RowEdits, table: EditTable, conditions: Conditions
) -> None:
    """Steps 1, 4 and 5, for g rows with n tokens each."""
    at = place(part.tokens, hidden.device)
    x = stream(hidden, residual, at)
    delta, counted = change(x, part, gathered, table, conditions)
    size, norm = torch.linalg.vector_norm(delta, dim=-1), torch.linalg.vector_norm(x, dim=-1)
    scale, dose = guard(size, norm, gathered.dose_max)
    write(hidden, residual, at, torch.addcmul(x, scale[:, None], delta), (size > 0)[:, None])
    table.tally(StepTally(torch.from_numpy(part.rows), counted, dose, scale))


def change(
    x: Tensor, part: Step, gathered: RowEdits, table: EditTable, conditions: Conditions
) -> tuple[Tensor, Tensor]:
    """Δ ([tokens, d_model]), and which tokens count: computed for the first time, and some edit is in force."""
    counted = torch.from_numpy(part.first)
    rows, k = gathered.alpha.shape
    if not k:
        return gathered.nudge.expand_as(x), counted
    x = x.view(rows, -1, x.shape[1])
    alpha, beta, nudge = gathered.alpha[:, None], gathered.beta[:, None], gathered.nudge[:, None]
    coefficient = torch.addcmul(beta, alpha, gathered.encoders.activations(x))
    if table.conditional:
        met, in_force = conditions_met(DeviceStep.of(part), k, table, conditions)
        coefficient, counted = coefficient * met.view_as(coefficient), counted & in_force
    return torch.baddbmm(nudge, coefficient, gathered.W_dec).flatten(0, 1), counted


def conditions_met(step: DeviceStep, slots: int, table: EditTable, conditions: Conditions) -> tuple[Tensor, Tensor]:
    """Whether the edit in each slot is in force ([tokens, slots]), and whether any edit of the row is ([tokens])."""
    bits, any_of = table.bits[step.rows, :slots], table.any_of[step.rows, :slots]
    taken = torch.arange(slots) < table.used[step.rows][:, None]
    met = taken & is_met(conditions.truths[step.tokens][:, None], bits, any_of)
    table.in_force[:, :slots].index_add_(0, step.rows, (met & step.first[:, None]).float())
    return met, table.always[step.rows] | met.any(-1)


def guard(size: Tensor, norm: Tensor, dose_max: Tensor) -> tuple[Tensor, Tensor]:
    """From ‖Δ‖ and ‖x‖: the scale that keeps ‖scale · Δ‖ ≤ dose_max · ‖x‖, and the dose that results ([tokens])."""
    scale = (dose_max * norm / size).nan_to_num_(1.0).clamp_(max=1.0)
    return scale, (scale * size / norm).nan_to_num_(0.0)


def write(hidden: Tensor, residual: Tensor | None, at: Place, x: Tensor, moved: Tensor) -> None:
    """Writes the new stream x for the tokens that ``moved`` ([tokens, 1]) marks; others stay as they are."""
    target = hidden if residual is None else residual
    target[at] = torch.where(moved, x.to(target.dtype), target[at])
    if residual is not None:
        hidden[at] = hidden[at].masked_fill(moved, 0)


def make_buffers(max_tokens: int, device: torch.device | str) -> "Buffers":
    """The buffers of captured graphs."""
    from featurehub.engine.graph import Buffers

    return Buffers(max_tokens, device)


def make_hook(
    index: int, name: str, table: EditTable | None, conditions: Conditions, buffers: "Buffers | None", d_model: int
) -> Hook:
    """A hook for the CPU or, with buffers, for captured graphs; Triton is imported only for these."""
    if buffers is None:
        return CpuHook(index, name, table, conditions)
    from featurehub.engine.graph import GraphHook

    return GraphHook(index, name, table, conditions, buffers, d_model)


HOOKS: dict[str, Hook] = {}
"""The hooks of this process's model by name. The op finds its state here, as vLLM's attention op finds its layer."""

_LIBRARY = Library("featurehub", "FRAGMENT")


def edit_stream(hidden: Tensor, residual: Tensor | None, hook: str) -> None:
    with METER.op:
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
