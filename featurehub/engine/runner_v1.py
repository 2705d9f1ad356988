"""Drives the hooks from vLLM's V1 model runner, which the CPU backend uses.

vLLM offers no official place where a V1 runner's batch is known before its forward pass. ``_prepare_inputs`` runs after
``_update_states``, so the batch is that of this step (before it, steering would follow the previous step's). This
module wraps that method, ``_sample`` for aborts, and ``initialize_kv_cache`` for the self-check, once, and refuses to
start if their signatures are not those it knows.

A step without steered requests costs one look at its new requests.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from vllm.v1.worker.gpu_model_runner import GPUModelRunner

from featurehub.edits import Steering
from featurehub.engine.checks import prompt_len
from featurehub.engine.hookset import HookSet, PausedRequest, current
from featurehub.engine.overhead import METER
from featurehub.engine.rows import Batch
from featurehub.engine.sampler import SAMPLER, Newcomer, is_crowded, may_sample
from featurehub.engine.seeds import protect_generators
from featurehub.engine.wrapping import run_after
from featurehub.errors import FeaturehubError

__all__ = ["install"]


class Adapter:
    """Keeps a hook set in step with one runner's batch.

    Attributes:
        hooks: The hook set.
        rows: By request id, the row; 0 if the worker refused the request's steering.
        steerings: By request id, the steering and the number of tokens in the prompt.
        parked: By request id, what a preempted request needs when it comes back.
    """

    def __init__(self, hooks: HookSet) -> None:
        self.hooks = hooks
        self.rows: dict[str, int] = {}
        self.steerings: dict[str, tuple[Steering, int]] = {}
        self.parked: dict[str, PausedRequest] = {}

    def begin_step(self, runner: Any, scheduler_output: Any, num_scheduled_tokens: np.ndarray) -> None:
        for request in scheduler_output.scheduled_new_reqs:
            self.forget(request.req_id)
            self.learn(request)
        self.sample(runner, scheduler_output.scheduled_new_reqs, num_scheduled_tokens)
        if not self.steerings:
            self.hooks.begin_step(None, runner.input_ids.cpu)
            return
        self.forget_finished(runner.requests)
        batch = self.batch(runner.input_batch, num_scheduled_tokens)
        self.hooks.begin_step(batch, runner.input_ids.gpu)

    def sample(self, runner: Any, new: Sequence[Any], scheduled: np.ndarray) -> None:
        """Says what the step puts aside for a sample of its new requests (vLLM's ``NewRequestData``)."""
        if not SAMPLER.active:
            return
        index, starts = runner.input_batch.req_id_to_index, scheduled.cumsum() - scheduled
        newcomers: list[Newcomer] = []
        for request in new:
            steering, _ = self.steerings.get(request.req_id, (None, 0))
            if may_sample(request, steering, self.hooks):
                at, position = index[request.req_id], request.num_computed_tokens
                tokens = min(int(scheduled[at]), prompt_len(request) - position)
                newcomers.append(Newcomer(int(starts[at]), tokens, position, steering is not None))
        crowded = is_crowded(self.hooks, len(scheduled), int(scheduled.sum()))
        SAMPLER.begin_step(newcomers, runner.input_ids.gpu.device, crowded)

    def learn(self, request: Any) -> None:
        """Keeps the steering of a new request (a vLLM ``NewRequestData``), if it has one."""
        steering = self.hooks.receive(request.req_id, request.sampling_params)
        if steering is not None:
            self.steerings[request.req_id] = steering, prompt_len(request)

    def batch(self, input_batch: Any, num_scheduled_tokens: np.ndarray) -> Batch | None:
        """The step's requests that hold a row, after each has been given one; None if there are none."""
        indices = [i for i, request_id in enumerate(input_batch.req_ids) if request_id in self.steerings]
        rows = [self.row(input_batch.req_ids[i], input_batch.req_id_to_index) for i in indices]
        starts = num_scheduled_tokens.cumsum() - num_scheduled_tokens
        at, row = np.array(indices, np.int64), np.array(rows, np.int64)
        at, row = at[row > 0], row[row > 0]
        if not len(at):
            return None
        positions = input_batch.num_computed_tokens_cpu[at]
        return Batch(row, *(column.astype(np.int64) for column in (starts[at], num_scheduled_tokens[at], positions)))

    def row(self, request_id: str, running: dict[str, int]) -> int:
        """The request's row, taken now if it has none."""
        known = self.rows.get(request_id)
        if known is not None:
            return known
        if not self.hooks.rows.free:
            self.park_others(running)
        self.rows[request_id] = self.admit(request_id)
        return self.rows[request_id]

    def admit(self, request_id: str) -> int:
        steering, tokens = self.steerings[request_id]
        try:
            return self.hooks.admit(steering, tokens, self.parked.pop(request_id, None), request_id)
        except FeaturehubError as error:
            self.hooks.refuse(request_id, steering, error.message)
            return 0

    def park_others(self, running: dict[str, int]) -> None:
        """Frees the rows of requests that are not in the batch: they were preempted, and may come back."""
        for request_id in self.rows.keys() - running.keys():
            if row := self.rows.pop(request_id):
                self.parked[request_id] = self.hooks.release(row)

    def forget_finished(self, requests: dict[str, Any]) -> None:
        for request_id in self.steerings.keys() - requests.keys():
            self.forget(request_id)

    def forget(self, request_id: str) -> None:
        self.steerings.pop(request_id, None)
        self.parked.pop(request_id, None)
        if row := self.rows.pop(request_id, 0):
            self.hooks.release(row)

    def end_step(self, runner: Any, sampled_token_ids: Any) -> None:
        index = runner.input_batch.req_id_to_index
        self.hooks.end_step(
            sampled_token_ids, {row: index[each] for each, row in self.rows.items() if row and each in index}
        )


def install() -> None:
    """Wraps vLLM's V1 runner, so that it drives the installed hook set. Safe to call again.

    Raises:
        UnsupportedModel: The runner is not one that featurehub knows.
    """
    prepare, sample = ["self", "scheduler_output", "num_scheduled_tokens"], ["self", "logits", "spec_decode_metadata"]
    run_after(GPUModelRunner, "_prepare_inputs", lambda parameters: parameters == prepare, begin_step)
    run_after(GPUModelRunner, "_sample", lambda parameters: parameters == sample, end_step)
    run_after(GPUModelRunner, "initialize_kv_cache", lambda parameters: parameters[1] == "kv_cache_config", prove)


def begin_step(runner: Any, result: Any, scheduler_output: Any, num_scheduled_tokens: np.ndarray) -> None:
    METER.begin_step(len(runner.input_batch.req_ids) > len(scheduler_output.scheduled_new_reqs))
    with METER.host:
        protect_generators(runner)
        if (hooks := current()) is not None:
            adapter_of(runner, hooks).begin_step(runner, scheduler_output, num_scheduled_tokens)


def end_step(runner: Any, result: Any, logits: Any, spec_decode_metadata: Any) -> None:
    if (hooks := current()) is not None and hooks.may_end:
        with METER.host:
            adapter_of(runner, hooks).end_step(runner, result.sampled_token_ids)


def prove(runner: Any, result: Any, *args: Any, **options: Any) -> None:
    """The self-check, before anything is served. The model is being loaded when this module is first imported."""
    if current() is not None:
        runner.get_model().prove_hooks()


def adapter_of(runner: Any, hooks: HookSet) -> Adapter:
    adapter = getattr(runner, "_featurehub_adapter", None)
    if adapter is None or adapter.hooks is not hooks:
        adapter = runner._featurehub_adapter = Adapter(hooks)
    return adapter
