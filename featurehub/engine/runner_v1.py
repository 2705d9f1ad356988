"""Fills the edit table for vLLM's V1 model runner, which the CPU backend uses.

vLLM offers no official place where a V1 runner's batch is known before its forward pass. ``_prepare_inputs`` runs after
``_update_states``, so the batch is this step's (before it, one would steer by the previous step's). This module wraps
that one method, once, and refuses to start where its signature is not the one it knows.
"""

import inspect
from functools import wraps
from typing import Any

import numpy as np
from vllm.logger import init_logger
from vllm.v1.worker.gpu_model_runner import GPUModelRunner

from featurehub.engine.config import KEY
from featurehub.engine.hook import HOOKS, RESID_POST, Hook, Reading
from featurehub.engine.seeds import protect_generators
from featurehub.engine.table import Span
from featurehub.errors import FeaturehubError, UnsupportedModel
from featurehub.features import Steering

__all__ = ["install"]

logger = init_logger(__name__)
_SIGNATURE = ["self", "scheduler_output", "num_scheduled_tokens"]


class Admitted:
    """A request as the adapter knows it: vLLM's own state (its identity tells a reused id apart), steering and row."""

    def __init__(self, state: Any, steering: Steering | None, row: int) -> None:
        self.state = state
        self.steering = steering
        self.row = row


class Adapter:
    """Keeps one hook's table in step with one runner's batch."""

    def __init__(self, hook: Hook) -> None:
        self.hook = hook
        self.admitted: dict[str, Admitted] = {}

    def fill(self, runner: GPUModelRunner, num_scheduled_tokens: np.ndarray) -> None:
        self.release_gone(runner.requests)
        steered, readings = [], []
        for span in spans(runner, num_scheduled_tokens):
            request = self.admit(span.request, runner.requests[span.request])
            if request.row:
                steered.append((request.row, span))
            if request.steering is not None and request.steering.reads:
                ids = runner.input_ids.gpu[span.start : span.start + span.tokens]
                readings.append(Reading(request.steering.report, span, request.steering.top_k, ids))
        table = self.hook.table
        self.hook.begin_step(table.schedule(steered) if table and steered else None, readings)

    def admit(self, request_id: str, state: Any) -> Admitted:
        known = self.admitted.get(request_id)
        if known is not None and known.state is state:
            return known
        if known is not None:
            self.release(request_id)
        steering = parse(state)
        row = 0
        if steering is not None and self.hook.table is not None:
            row = self.row(request_id, steering)
        self.admitted[request_id] = Admitted(state, steering, row)
        return self.admitted[request_id]

    def row(self, request_id: str, steering: Steering) -> int:
        """Row 0 where the edits are not valid: no report will be found for them, which ends the request in an error."""
        assert self.hook.table is not None
        try:
            return self.hook.table.admit(steering)
        except FeaturehubError as error:
            logger.error("request %s asked for edits that the worker refuses: %s", request_id, error)
            return 0

    def release_gone(self, requests: dict[str, Any]) -> None:
        for request_id in self.admitted.keys() - requests.keys():
            self.release(request_id)

    def release(self, request_id: str) -> None:
        row = self.admitted.pop(request_id).row
        if row and self.hook.table is not None:
            self.hook.table.release(row)


def parse(state: Any) -> Steering | None:
    """The steering that a request carries in its sampling parameters."""
    params = state.sampling_params
    carried = (params.extra_args or {}).get(KEY) if params is not None else None
    return Steering.model_validate_json(carried) if carried else None


def spans(runner: GPUModelRunner, num_scheduled_tokens: np.ndarray) -> list[Span]:
    """Every request's tokens of this step, in batch order."""
    batch, start, result = runner.input_batch, 0, []
    for i, request_id in enumerate(batch.req_ids):
        tokens = int(num_scheduled_tokens[i])
        computed = int(batch.num_computed_tokens_cpu[i])
        result.append(Span(request_id, start, tokens, computed, int(batch.num_prompt_tokens[i])))
        start += tokens
    return result


def install() -> None:
    """Wraps ``GPUModelRunner._prepare_inputs``. Safe to call again. Raises UnsupportedModel for an unknown vLLM."""
    original = GPUModelRunner._prepare_inputs
    if hasattr(original, "__wrapped__"):
        return
    if list(inspect.signature(original).parameters) != _SIGNATURE:
        raise UnsupportedModel("this vLLM's V1 runner prepares its inputs in a way that featurehub does not know")

    @wraps(original)
    def prepare_inputs(self: GPUModelRunner, scheduler_output: Any, num_scheduled_tokens: np.ndarray) -> Any:
        result = original(self, scheduler_output, num_scheduled_tokens)
        protect_generators(self)
        hook = HOOKS.get(RESID_POST)
        if hook is not None:
            adapter_of(self, hook).fill(self, num_scheduled_tokens)
        return result

    GPUModelRunner._prepare_inputs = prepare_inputs  # type: ignore[method-assign]


def adapter_of(runner: Any, hook: Hook) -> Adapter:
    adapter = getattr(runner, "_featurehub_adapter", None)
    if adapter is None or adapter.hook is not hook:
        adapter = runner._featurehub_adapter = Adapter(hook)
    return adapter
