"""The adapter for vLLM's V1 model runner: what connects a request with those before it, and what it refuses."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from vllm import SamplingParams
from vllm.v1.core.sched.output import NewRequestData

from featurehub.edits import Condition, LatentEdit, Op, Steering, When
from featurehub.engine.config import KEY, EngineConfig
from featurehub.engine.hookset import HookSet
from featurehub.engine.runner_v1 import Adapter
from featurehub.features import Mode
from featurehub.report import SteerReport
from featurehub.seals import Maker
from featurehub.steering import Reference
from tests.engine.samples import sampling
from tests.engine.seals import sealed
from tests.engine.world import D_MODEL, DICTIONARIES, POINTS, stream

PROMPT = 5


def nudge(value: float, report: str) -> Steering:
    """At every token from the first on at which latent 1 is below ``value``."""
    when = When(conditions=(Condition(sae="a", latent=1, op=Op.BELOW, value=value, so_far=True),))
    edit = LatentEdit(sae="a", latent=3, mode=Mode.NUDGE, value=5.0, when=when)
    return Steering(edits=(edit,), report=report, nonce=report)


def new(steering: Steering) -> NewRequestData:
    """Always of the same id."""
    return NewRequestData(
        req_id="a",
        prompt_token_ids=list(range(PROMPT)),
        mm_features=[],
        sampling_params=SamplingParams(extra_args={KEY: steering.to_json()}),
        pooling_params=None,
        block_ids=([0],),
        num_computed_tokens=0,
        lora_request=None,
    )


class Running:
    """A runner with one request at most, whose prompt is computed in one step."""

    def __init__(self, config: EngineConfig) -> None:
        self.hooks = HookSet(config, 4, 64, D_MODEL)
        self.adapter = Adapter(self.hooks)

    def prefill(self, steering: Steering) -> tuple[torch.Tensor, torch.Tensor]:
        """The first hook's stream before, and after."""
        batch = SimpleNamespace(
            req_ids=["a"], req_id_to_index={"a": 0}, num_computed_tokens_cpu=np.zeros(1, np.int32)
        )  # fmt: skip
        ids = torch.arange(PROMPT)
        runner: Any = SimpleNamespace(
            input_ids=SimpleNamespace(cpu=ids, gpu=ids), requests={"a": object()}, input_batch=batch
        )  # fmt: skip
        scheduled = SimpleNamespace(scheduled_new_reqs=[new(steering)])
        self.adapter.begin_step(runner, scheduled, np.array([PROMPT]))
        hidden, residual = map(torch.stack, zip(*(stream(0, p, 0, torch.float32) for p in range(PROMPT)), strict=True))
        before = hidden + residual
        self.hooks.hooks[0].run(hidden, residual)
        return before, hidden + residual

    def report(self, key: str) -> SteerReport:
        found = self.hooks.report(key)
        assert found is not None
        return found


@pytest.fixture
def running(world_config: EngineConfig) -> Running:
    return Running(world_config)


def test_a_new_request_with_the_id_of_one_that_is_gone_starts_from_nothing(running: Running) -> None:
    """Also where no step came between the two, in which the first could have been missed."""
    for steering in (nudge(1e6, "always"), nudge(-1.0, "never")):
        before, after = running.prefill(sealed(steering, Maker.ADMISSION))
        reference = Reference(steering, DICTIONARIES, PROMPT)
        naive = torch.stack([reference.at(POINTS[0], p, x).x for p, x in enumerate(before)])
        torch.testing.assert_close(after, naive)
    assert [running.report(key).steered_tokens for key in ("always", "never")] == [PROMPT, 0]


@pytest.mark.parametrize("maker", [None, Maker.REQUEST])
def test_what_did_not_come_through_admission_is_not_run(running: Running, maker: Maker | None) -> None:
    steering = nudge(1e6, "r")
    before, after = running.prefill(steering if maker is None else sealed(steering, maker))
    assert torch.equal(before, after)
    assert "admission" in running.report("r").lost(steering)


def test_new_requests_are_read_for_a_sample_whether_steered_or_not(running: Running) -> None:
    """Of a steered one the tokens of its prompt that the step computes; of one at an earlier hook point none."""
    with sampling() as (sampler, _):
        late = LatentEdit(sae="c", latent=1, mode=Mode.NUDGE, value=5.0)
        running.prefill(sealed(Steering(edits=(late,), report="r", nonce="r"), Maker.ADMISSION))
        assert sampler.wanted is not None
        assert (sampler.wanted.places, sampler.wanted.counts, sampler.wanted.at) == ([0], [4], slice(1, 5))
        assert sampler.wanted.bare.tolist() == []
        running.prefill(sealed(nudge(1e6, "s"), Maker.ADMISSION))
        assert (sampler.wanted, sampler.came) == (None, 1)
        sampler.active = False
        running.prefill(sealed(Steering(edits=(late,), report="t", nonce="t"), Maker.ADMISSION))
        assert sampler.came == 1
