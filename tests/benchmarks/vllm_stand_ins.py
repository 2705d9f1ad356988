"""What stands for vLLM where its adapter is measured alone: a model state that does nothing, steps, and requests."""

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from msgspec.structs import replace
from vllm import SamplingParams
from vllm.v1.engine import EngineCoreRequest

from featurehub.edits import Steering
from featurehub.engine.config import KEY
from featurehub.seals import Maker

__all__ = ["PROMPT", "EmptyState", "batch_of", "engine_request", "new_request"]

PROMPT = 8
"""Tokens of each prompt."""


class EmptyState:
    """vLLM's model state, without anything to do."""

    def add_request(self, req_index: int, new_req_data: Any) -> None: ...

    def remove_request(self, req_id: str) -> None: ...

    def apply_staged_writes(self) -> None: ...

    def prepare_inputs(self, input_batch: Any, req_states: Any) -> dict[str, Any]:
        return {}

    def prepare_dummy_inputs(self, num_reqs: int, num_tokens: int) -> dict[str, Any]:
        return {}


def batch_of(ids: Sequence[str], tokens: Sequence[int], buffer: torch.Tensor) -> Any:
    """A step as ``InputBatch`` describes it."""
    counts = np.array(tokens, np.int32)
    return SimpleNamespace(
        req_ids=list(ids), num_reqs=len(ids), num_tokens=int(counts.sum()), num_scheduled_tokens=counts,
        input_ids=buffer[: int(counts.sum())],
    )  # fmt: skip


def new_request(steering: Steering, name: str) -> Any:
    """vLLM's ``NewRequestData`` of a request that passed admission."""
    asked = not steering.is_nothing
    carried = {KEY: replace(steering, nonce=name).to_sealed(Maker.ADMISSION)} if asked else None
    return SimpleNamespace(
        req_id=name, prompt_token_ids=[1] * PROMPT, num_computed_tokens=0,
        sampling_params=SamplingParams(extra_args=carried),
    )  # fmt: skip


def engine_request(name: str, extra: dict[str, Any] | None) -> EngineCoreRequest:
    """A request as it comes to admission."""
    return EngineCoreRequest(
        request_id=name, prompt_token_ids=[1] * PROMPT, mm_features=None,
        sampling_params=SamplingParams(extra_args=extra), pooling_params=None, arrival_time=0.0, lora_request=None,
        cache_salt=None, data_parallel_rank=None,
    )  # fmt: skip
