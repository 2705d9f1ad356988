"""Drives the hooks from vLLM's V2 model runner, the default on CUDA, through its official seam: ``ModelState``.

A hooked model names a subclass of its ``ModelState``. vLLM calls it in every mode, for real and for dummy batches:

    add_request       new requests, and preempted ones that come back
    remove_request    finished requests, preempted ones, and ids that were never added
    prepare_inputs    before every forward pass or graph replay: the step is laid out
    custom_sampler    once, where this vLLM has it: aborts replace what is sampled

A token is steered if and only if its request came in through ``add_request``: padding masks do not help, since older
releases leave them set on real tokens, and dummy batches point at live slots.
"""

from collections import OrderedDict
from collections.abc import Sequence
from itertools import repeat
from typing import Any

import numpy as np

from featurehub.engine.checks import prompt_len
from featurehub.engine.hookset import HookSet, PausedRequest, current
from featurehub.engine.overhead import METER
from featurehub.engine.rows import Batch
from featurehub.engine.sampler import SAMPLER, Newcomer, is_crowded, may_sample
from featurehub.errors import FeaturehubError, UnsupportedModel

__all__ = ["StateAdapter", "hooked_state"]

PARKED = 4096
_METHODS = ("add_request", "remove_request", "prepare_inputs", "prepare_dummy_inputs")


class StateAdapter:
    """Keeps a hook set in step with one model state.

    Attributes:
        hooks: The hook set.
        rows: By request id, the row of a request that has a steering.
        ids: The ids of the last step's requests.
        nonces: By request id, the nonce of its steering.
        parked: By request id and nonce, what a removed request needs if it was preempted and comes back. The nonce
            tells it from a new request with the same id.
        can_abort: Whether this vLLM lets a model state change what is sampled.
        came: By request id, the requests that came since the last step and may be read for a sample.
    """

    def __init__(self, hooks: HookSet) -> None:
        self.hooks = hooks
        self.rows: dict[str, int] = {}
        self.ids: list[str] = []
        self.nonces: dict[str, str] = {}
        self.parked: OrderedDict[tuple[str, str], PausedRequest] = OrderedDict()
        self.can_abort = False
        self.came: dict[str, Any] = {}

    def add(self, request: Any) -> None:
        """Gives a row to a new or resumed request (a vLLM ``NewRequestData``), if it has a steering."""
        self.remove(request.req_id)
        steering = self.hooks.receive(request.req_id, request.sampling_params)
        if SAMPLER.active and may_sample(request, steering, self.hooks):
            self.came[request.req_id] = request
        if steering is None:
            return
        try:
            if steering.aborts and not self.can_abort:
                raise UnsupportedModel("this vLLM's model runner has no custom_sampler, so nothing can be aborted")
            parked = self.parked.pop((request.req_id, steering.nonce), None)
            row = self.hooks.admit(steering, prompt_len(request), parked, request.req_id)
            self.rows[request.req_id] = row
            self.hooks.rows.position[row] = request.num_computed_tokens
            self.nonces[request.req_id] = steering.nonce
        except FeaturehubError as error:
            self.hooks.refuse(request.req_id, steering, error.message)

    def remove(self, request_id: str) -> None:
        """Frees the row of a finished or preempted request, if it has one."""
        row = self.rows.pop(request_id, 0)
        if not row:
            return
        self.parked[request_id, self.nonces.pop(request_id)] = self.hooks.release(row)
        if len(self.parked) > PARKED:
            self.parked.popitem(last=False)

    def begin_step(self, input_batch: Any) -> None:
        """Lays out the step of a vLLM ``InputBatch``."""
        self.sample(input_batch)
        ids = input_batch.req_ids[: input_batch.num_reqs] if self.rows else ()
        if self.hooks.repeatable and input_batch.num_tokens == len(ids) and ids == self.ids:
            self.hooks.repeat_step(input_batch.input_ids)
            return
        batch = self.batch(ids, input_batch.num_scheduled_tokens)
        self.hooks.begin_step(batch, input_batch.input_ids)
        self.ids = list(ids)

    def sample(self, input_batch: Any) -> None:
        """Says what the step puts aside for a sample of its new requests."""
        if not SAMPLER.active:
            return
        new, newcomers = self.came, list[Newcomer]()
        self.came = {}
        if new:
            ids, scheduled = input_batch.req_ids[: input_batch.num_reqs], input_batch.num_scheduled_tokens
            starts = scheduled.cumsum() - scheduled
            for at, id in enumerate(ids):
                if (request := new.get(id)) is not None:
                    position = request.num_computed_tokens
                    tokens = min(int(scheduled[at]), prompt_len(request) - position)
                    newcomers.append(Newcomer(int(starts[at]), tokens, position, id in self.rows))
        crowded = is_crowded(self.hooks, input_batch.num_reqs, input_batch.num_tokens)
        SAMPLER.begin_step(newcomers, input_batch.input_ids.device, crowded)

    def batch(self, ids: Sequence[str], scheduled: np.ndarray) -> Batch | None:
        """The step's requests that have a row; None if there are none."""
        rows = np.fromiter(map(self.rows.get, ids, repeat(0)), np.int64, len(ids))
        if not rows.any():
            return None
        self.hooks.settle()
        tokens = np.asarray(scheduled[: len(ids)], np.int64)
        columns = rows, tokens.cumsum() - tokens, tokens, self.hooks.rows.position[rows]
        return Batch(*columns).only(rows > 0)

    def end_step(self, input_batch: Any, sampled_token_ids: Any) -> None:
        """Ends answers for which an abort has held, in ``sampled_token_ids`` ([requests, 1])."""
        if not self.hooks.may_end:
            return
        ids = input_batch.req_ids[: input_batch.num_reqs]
        self.hooks.end_step(sampled_token_ids, {self.rows[each]: i for i, each in enumerate(ids) if each in self.rows})


class AbortingSampler:
    """vLLM's sampler, followed by aborts. Attributes are those of the sampler."""

    def __init__(self, sampler: Any, adapter: StateAdapter) -> None:
        self._sampler = sampler
        self._adapter = adapter

    def __call__(self, logits: Any, input_batch: Any, *args: Any, **kwargs: Any) -> Any:
        output = self._sampler(logits, input_batch, *args, **kwargs)
        with METER.host:
            self._adapter.end_step(input_batch, output.sampled_token_ids)
        return output

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sampler, name)


def hooked_state(base: type[Any]) -> type[Any]:
    """A subclass of a ``ModelState`` that drives the installed hook set.

    Args:
        base: vLLM's class.

    Returns:
        The subclass, or ``base`` itself if no hook set is installed.

    Raises:
        UnsupportedModel: ``base`` lacks a method that featurehub needs.
    """
    hooks = current()
    if hooks is None:
        return base
    for method in _METHODS:
        if not hasattr(base, method):
            raise UnsupportedModel(f"this vLLM's {base.__name__} has no {method}; featurehub cannot steer with it")

    class HookedState(base):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            self.featurehub = StateAdapter(hooks)
            self.featurehub_came = 0

        def add_request(self, req_index: int, new_req_data: Any) -> None:
            super().add_request(req_index, new_req_data)
            self.featurehub_came += 1
            with METER.host:
                self.featurehub.add(new_req_data)

        def remove_request(self, req_id: str) -> None:
            super().remove_request(req_id)
            with METER.host:
                self.featurehub.remove(req_id)

        def prepare_inputs(self, input_batch: Any, req_states: Any) -> dict[str, Any]:
            METER.begin_step(input_batch.num_reqs > self.featurehub_came)
            self.featurehub_came = 0
            with METER.host:
                self.featurehub.begin_step(input_batch)
            return super().prepare_inputs(input_batch, req_states)

        def prepare_dummy_inputs(self, num_reqs: int, num_tokens: int) -> dict[str, Any]:
            SAMPLER.begin_step((), hooks.conditions.truths.device)
            hooks.begin_step(None, None)
            return super().prepare_dummy_inputs(num_reqs, num_tokens)

        def custom_sampler(self, sampler: Any) -> Any:
            self.featurehub.can_abort = True
            return AbortingSampler(sampler, self.featurehub), None

    return HookedState
