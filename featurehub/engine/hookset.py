"""All hook points of one worker's model, and the requests that run under them.

A runner's adapter calls ``admit`` and ``release`` for a request, ``begin_step`` and ``end_step`` for a step.

1. ``admit`` checks a request's steering, gives it a row, and fills it at every hook point.
2. ``begin_step`` lays out which tokens run under which row, per hook point; the op then does the rest.
3. ``end_step`` ends the generations for which an abort has held.
4. ``release`` frees the row when the request is gone. Its counts wait in ``reports`` until they are fetched.
5. With what ``release`` returns, ``admit`` resumes a preempted request: conditions that had fired stay fired.
"""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from vllm.logger import init_logger

from featurehub.artifacts.manifest import HookPoint
from featurehub.edits import Condition, Steering
from featurehub.engine.bank import Bank
from featurehub.engine.checks import carried, check
from featurehub.engine.conditions import NEVER, Conditions, ConditionState
from featurehub.engine.config import EngineConfig, HookConfig
from featurehub.engine.hook import HOOKS, make_buffers, make_hook
from featurehub.engine.reading import add_readings
from featurehub.engine.reports import Reports, Snapshot
from featurehub.engine.rows import Batch, Rows, RunningRequest, Step
from featurehub.engine.sampler import SAMPLER
from featurehub.engine.table import EditTable
from featurehub.engine.weights import LoadedWeights
from featurehub.errors import InvalidEdit
from featurehub.report import SteerReport, Wire
from featurehub.seals import Maker

__all__ = ["HookSet", "PausedRequest", "current", "install"]

logger = init_logger(__name__)
NOT_ADMITTED = (
    "it did not come through featurehub's admission in the process that took the request; is the plugin loaded there "
    "(VLLM_PLUGINS), and FEATUREHUB_SECRET the same on every machine?"
)


class PausedRequest(NamedTuple):
    """A preempted request: the position that it had reached, where its conditions had fired, and what it was."""

    reached: int
    fired: ConditionState | None
    request: RunningRequest


class HookSet:
    """The hooks of one worker's model, and the rows of the requests that run under them.

    Args:
        config: The hook points and the SAEs there.
        max_reqs: Maximum number of requests that run side by side.
        max_tokens: Maximum number of tokens in a step.
        d_model: Width of the model's stream.
        widths: Numbers in a token's row at hook points where that is not d_model.
        device: Where the model runs.
        graphs: Whether the op must be the same launches in every step (``featurehub.engine.graph``).

    Attributes:
        weights: What is known of the weights that tokens are computed with.
        orphaned: Rows whose requests use an SAE that was taken away (``featurehub.engine.exchange``).
        repeatable: Whether a next step of the same requests, with one token each, may be laid out by ``repeat_step``.
        may_end: Whether the step has a request with aborts.
    """

    def __init__(
        self, config: EngineConfig, max_reqs: int, max_tokens: int, d_model: int,
        widths: Mapping[HookPoint, int] | None = None,
        device: torch.device | str = "cpu", graphs: bool = False,
    ) -> None:  # fmt: skip
        self.config = config
        self.rows = Rows(max_reqs)
        self.conditions = Conditions(max_reqs + 2, config.max_conditions, len(config.hooks), max_tokens, device)
        self.buffers = make_buffers(max_tokens, device) if graphs else None
        sizes = [(widths or {}).get(hook.point, d_model) for hook in config.hooks]
        self.hooks = [
            make_hook(i, str(hook.point), self.table(hook, width, device), self.conditions, self.buffers, width)
            for i, (hook, width) in enumerate(zip(config.hooks, sizes, strict=True))
        ]
        self.place, self.orphaned = config.place, set[int]()
        self.weights, self.reports = LoadedWeights(), Reports()
        self.numbers = itertools.count()
        self.step: Step | None = None
        self.batch: Batch | None = None
        self.repeats, self.repeatable, self.may_end = 0, False, False

    def table(self, hook: HookConfig, width: int, device: torch.device | str) -> EditTable | None:
        """The table of a hook point, None without SAEs. Raises CorruptArtifact, IncompatibleArtifact."""
        rows = len(self.conditions.held)
        return EditTable(Bank.load(hook.saes, width, device), rows, self.config.max_edits) if hook.saes else None

    def receive(self, request_id: str, params: Any) -> Steering | None:
        """The steering that a request carries, or None. One that did not pass admission is refused.

        It would run on KV blocks of others. A report of the refusal, or none at all, makes the answer an error.
        """
        try:
            asked = carried(params.extra_args) if params is not None else None
        except InvalidEdit as error:
            logger.error("request %s carries a steering that the worker cannot read: %s", request_id, error)
            return None
        if asked is None or asked.is_sealed(Maker.ADMISSION):
            return asked and asked.steering
        self.refuse(request_id, asked.steering, NOT_ADMITTED)
        return None

    def refuse(self, request_id: str, steering: Steering, reason: str) -> None:
        """Logs why a steering is refused, and keeps it as the request's report."""
        logger.error("the worker refuses the steering of request %s: %s", request_id, reason)
        self.reports.keep(steering.report, lambda: {"refused": reason})

    def admit(self, steering: Steering, prompt_len: int, parked: PausedRequest | None = None, id: str = "") -> int:
        """Gives the steering of a request, of which vLLM's id is ``id``, a row that is filled at every hook point.

        Raises:
            InvalidEdit: The engine cannot do what it asks.
        """
        steering = check(steering, self.config)
        self.settle()
        new = RunningRequest(next(self.numbers), id, prompt_len, self.weights.identity)
        row = self.rows.take(steering, new if parked is None else parked.request)
        mask = self.conditions.admit(row, steering, prompt_len, self.locate)
        for hook in self.hooks:
            if hook.edits is not None:
                reads = hook.name in steering.capture or any(self.place[r.sae] == hook.index for r in steering.reads)
                hook.edits.admit(row, steering, prompt_len, mask, reads or SAMPLER.active)
        if parked is not None:
            self.rows.reached[row] = parked.reached
            if parked.fired is not None:
                self.conditions.resume(row, parked.fired)
        return row

    def locate(self, condition: Condition) -> tuple[int, int]:
        """Index of a condition's hook point, and the row of its latent in the bank there."""
        hook = self.hooks[self.place[condition.sae]]
        assert hook.table is not None
        return hook.index, hook.table.bank.row(condition.sae, condition.latent)

    def release(self, row: int) -> PausedRequest:
        """Frees a row and keeps its counts for ``report``; returns what ``admit`` needs if the request comes back."""
        self.settle()
        steering, request, reached = self.rows.steerings[row], self.rows.running[row], int(self.rows.reached[row])
        self.reports.keep(steering.report, self.snapshot(row))
        self.rows.give_back(row)
        self.orphaned.discard(row)
        for hook in self.hooks:
            if hook.edits is not None:
                hook.edits.release(row)
        return PausedRequest(reached, self.conditions.release(row), request)

    def begin_step(self, batch: Batch | None, token_ids: Tensor | None) -> None:
        """Lays out a step: the requests with a row, None if there are none, and the [tokens] of the whole batch."""
        self.settle()
        self.write()
        self.batch = batch
        self.step = self.rows.lay_out(batch) if batch is not None else None
        self.may_end = batch is not None and bool(self.conditions.aborting[batch.rows].any())
        if self.buffers is not None:
            self.buffers.fill(self.step)
        if batch is None or self.step is None or token_ids is None:
            for hook in self.hooks:
                hook.idle()
            return
        self.expect(batch)
        self.conditions.begin_step(self.step)
        capturing, readers = self.rows.capturing(batch), self.rows.reading(batch)
        for hook in self.hooks:
            own = {sae: readers[sae] for sae, at in self.place.items() if at == hook.index and sae in readers}
            hook.begin_step(self.step, capturing.get(hook.name, ()), own, token_ids)
        only_generates = len(self.step.rows) == len(batch.rows) and bool(self.step.first.all())
        self.repeatable = only_generates and not (capturing or self.may_end)

    def write(self) -> None:
        """Writes the rows of all requests that have come or gone, each table's at once."""
        self.conditions.write()
        for hook in self.hooks:
            hook.write()

    def repeat_step(self, token_ids: Tensor) -> None:
        """Lays out a step like the last one, one position further on: the same rows, with these tokens.

        Only where ``repeatable``, and with kernels that read the buffers. It is counted when something else happens.
        """
        assert self.buffers is not None
        self.repeats += 1
        self.buffers.advance()
        self.conditions.begin_again()
        for hook in self.hooks:
            asked = hook.readings.asked
            hook.drain()
            hook.readings.ask_again(asked, token_ids)

    def settle(self) -> None:
        """Counts the steps that were only repeated, and ends repeating: the next step is laid out anew."""
        self.repeatable = False
        if self.batch is None or not self.repeats:
            return
        repeated, self.repeats = self.batch.following(self.repeats), 0
        self.batch = None
        self.rows.count(repeated)
        self.expect(repeated)

    def expect(self, batch: Batch) -> None:
        """Counts at every hook point the tokens that are to be edited there."""
        for hook in self.hooks:
            if hook.table is not None:
                hook.table.expect(batch)

    def end_step(self, sampled: Tensor, at: Mapping[int, int]) -> None:
        """Where an abort has held, puts the stop token into ``sampled`` ([requests, 1]) at the row's index, ``at``."""
        rows = [row for row in at if self.conditions.aborting[row]]
        if self.step is None or not rows:
            return
        self.conditions.abort(self.step.only(np.isin(self.step.rows, rows)))
        ended = (self.conditions.aborted_at[torch.tensor(rows, device=self.conditions.hook.device)] < NEVER).any(-1)
        stop = torch.tensor([self.rows.steerings[row].stop_token or 0 for row in rows], dtype=sampled.dtype)
        indices = torch.tensor([at[row] for row in rows]).to(sampled.device)
        sampled[indices, 0] = torch.where(ended.to(sampled.device), stop.to(sampled.device), sampled[indices, 0])

    def snapshot(self, row: int) -> Snapshot:
        """A function that gives the row's report as it is now; calling it may wait for the device."""
        if row in self.orphaned:
            return lambda: {"refused": "an SAE that it uses was taken away while it ran"}
        steering, computed = self.rows.steerings[row], int(self.rows.computed[row])
        request, reached, weights = self.rows.running[row], int(self.rows.reached[row]), self.weights.identity
        recomputed, judged = int(self.rows.recomputed[row]), int(self.conditions.judged[row])
        outcome = self.conditions.snapshot(row, steering.aborts)
        counts = {hook.name: hook.table.snapshot(row) for hook in self.hooks if hook.table and hook.table.holds[row]}

        def read() -> Wire:
            aborted, decided = outcome()
            return {
                "hooks": {name: each() for name, each in counts.items()},
                "conditions": {self.hooks[at].name: counted(seen, computed) for at, seen in decided.items()},
                "aborts": counted(judged, computed) if steering.aborts else None,
                "id": request.id,
                "prompt_tokens": request.prompt_len,
                "requests": (request.number,),
                "reached": {request.number: reached},
                "recomputed_tokens": recomputed,
                "weights": tuple(dict.fromkeys((request.weights, weights))),
                "aborted": aborted and aborted.model_dump(),
            }

        return read

    def report(self, key: str) -> SteerReport | None:
        """Takes the sum of a key's reports, activations included; None if nothing is known of its requests."""
        [wires] = self.wires([key])
        return SteerReport.sum_of(wires) if wires else None

    def wires(self, keys: Sequence[str]) -> list[list[Wire]]:
        """Takes the reports of many keys, as they are sent; what is still on the device is copied once for all."""
        for key in keys:
            for row in list(self.rows.keyed.get(key, ())):
                self.settle()
                self.reports.keep(key, self.snapshot(row))
                self.rows.report_made(row)
        for hook in self.hooks:
            hook.drain()
        taken = [self.reports.take(key) for key in keys]
        readings = [hook.readings.activations for hook in self.hooks]
        if kept := [each for each in readings if each.unread or each.shares or each.lost]:
            for key, wires in zip(keys, taken, strict=True):
                add_readings(key, wires, kept)
        return taken

    def captured(self, key: str, name: str) -> Tensor:
        """Takes a key's stream [tokens, d_model] at a hook point. Raises KeyError if there is none; SteeringLost."""
        hook = next(hook for hook in self.hooks if hook.name == name)
        hook.drain()
        return hook.readings.captures.take(key)


def counted(seen: int, expected: int) -> dict[str, int]:
    return {"seen_tokens": seen, "expected_tokens": expected}


CURRENT: list[HookSet] = []
"""The hook set of this process's model, if it has one."""


def current() -> HookSet | None:
    """The hook set of this process's model; None if it has none."""
    return CURRENT[0] if CURRENT else None


def install(hooks: HookSet | None) -> None:
    """Makes a hook set the one that the op and the adapters use; None removes it."""
    CURRENT[:] = [hooks] if hooks is not None else []
    HOOKS.clear()
    HOOKS.update({hook.name: hook for hook in (hooks.hooks if hooks is not None else [])})
