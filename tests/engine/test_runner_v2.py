"""The adapter for vLLM's V2 model runner, without a GPU: vLLM's own model state and batches, kernels interpreted."""

from collections.abc import Iterator
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs
from torch import Tensor
from vllm import SamplingParams
from vllm.engine.arg_utils import EngineArgs
from vllm.v1.core.sched.output import NewRequestData
from vllm.v1.worker.gpu.input_batch import InputBatch, InputBuffers
from vllm.v1.worker.gpu.model_states.default import DefaultModelState

from featurehub.conditions import Positions
from featurehub.demo.bundle import bundled_model
from featurehub.edits import Abort, Condition, LatentEdit, Op, Read, Steering, When
from featurehub.engine.config import KEY, EngineConfig
from featurehub.engine.graph import GraphHook
from featurehub.engine.hookset import HookSet, install
from featurehub.engine.runner_v2 import StateAdapter, hooked_state
from featurehub.errors import UnsupportedModel
from featurehub.features import Mode
from featurehub.report import SteerReport
from featurehub.seals import Maker
from featurehub.steering import Reference
from tests.engine.samples import sampling
from tests.engine.seals import sealed
from tests.engine.world import D_MODEL, DICTIONARIES, POINTS, stream

pytest.importorskip("triton")

NUDGE = LatentEdit(sae="a", latent=3, mode=Mode.NUDGE, value=5.0)
ALWAYS = When(conditions=(Condition(sae="a", latent=1, op=Op.BELOW, value=1e6),))
PROMPT, STOP = 4, 9


@pytest.fixture
def hooks(world_config: EngineConfig) -> Iterator[HookSet]:
    hooks = HookSet(world_config, 8, 64, D_MODEL, graphs=True)
    install(hooks)
    yield hooks
    install(None)


@pytest.fixture
def state(hooks: HookSet) -> Any:
    """Of a model that has no weights."""
    vllm_config = EngineArgs(model=str(bundled_model()), dtype="float32", max_num_seqs=8).create_engine_config()
    with torch.device("meta"):
        model = torch.nn.Linear(D_MODEL, D_MODEL)
    return hooked_state(DefaultModelState)(vllm_config, model, None, torch.device("cpu"))


def admitted(steering: Steering, key: str, nonce: str = "once") -> Steering:
    return sealed(structs.replace(steering, report=key, nonce=nonce), Maker.ADMISSION)


def new(request_id: str, steering: Steering | None, computed: int = 0) -> NewRequestData:
    carried = {KEY: admitted(steering, request_id).to_json()} if steering is not None else None
    return NewRequestData(
        req_id=request_id,
        prompt_token_ids=list(range(PROMPT)),
        mm_features=[],
        sampling_params=SamplingParams(extra_args=carried),
        pooling_params=None,
        block_ids=([0],),
        num_computed_tokens=computed,
        lora_request=None,
        prefill_token_ids=list(range(PROMPT)),
    )


def batch(**tokens: int) -> InputBatch:
    """A step: tokens by request id. vLLM's own batch, so that a field that it renames is missed."""
    buffers = InputBuffers(max_num_reqs=8, max_num_tokens=64, device=torch.device("cpu"))
    dummy = InputBatch.make_dummy(len(tokens), sum(tokens.values()), buffers)
    counts = torch.tensor(list(tokens.values())).numpy()
    return replace(dummy, req_ids=list(tokens), num_scheduled_tokens=counts)


def run(hooks: HookSet, where: list[tuple[int, int]], padding: int = 0) -> tuple[Tensor, Tensor]:
    """The first hook over the streams of (request, position); x before, and x after."""
    pairs = [stream(request, position, 0, torch.float32) for request, position in where + [(50, 0)] * padding]
    hidden, residual = (torch.stack(each) for each in zip(*pairs, strict=True))
    before = hidden + residual
    hooks.hooks[0].run(hidden, residual)
    return before, hidden + residual


def naive(steering: Steering, positions: list[int], x: Tensor) -> Tensor:
    reference = Reference(steering, DICTIONARIES, PROMPT)
    return torch.stack([reference.at(POINTS[0], p, row).x for p, row in zip(positions, x, strict=True)])


def report(hooks: HookSet, key: str) -> SteerReport:
    found = hooks.report(key)
    assert found is not None
    return found


def test_requests_are_steered_from_the_step_in_which_they_come(state: Any, hooks: HookSet) -> None:
    generated = Steering(edits=(NUDGE,), positions=Positions.GENERATED)
    state.add_request(5, new("a", Steering(edits=(NUDGE,))))
    state.add_request(2, new("b", generated))
    state.add_request(3, new("plain", None))
    state.apply_staged_writes()
    state.prepare_inputs(batch(b=4, plain=2, a=3), None)
    before, after = run(hooks, [(1, p) for p in range(4)] + [(2, 0), (2, 1)] + [(0, p) for p in range(3)], padding=3)
    torch.testing.assert_close(after[6:9], naive(Steering(edits=(NUDGE,)), [0, 1, 2], before[6:9]))
    assert torch.equal(after[:6], before[:6])
    assert torch.equal(after[9:], before[9:])
    state.prepare_inputs(batch(a=1, b=1), None)
    before, after = run(hooks, [(0, 3), (1, 4)])
    torch.testing.assert_close(after, naive(Steering(edits=(NUDGE,)), [3, 4], before))
    assert [report(hooks, key).steered_tokens for key in "ab"] == [4, 1]


IDS = torch.zeros(64, dtype=torch.int32)
"""One buffer for all steps, as a runner has it: what is read must not look at the next step's tokens."""
EVENTS = st.lists(
    st.tuples(st.sampled_from(["come", "go", "step", "step", "step", "prefill", "dummy", "report"]), st.integers(0, 4))
)


@given(events=EVENTS)
def test_a_step_that_only_moves_on_is_laid_out_as_if_anew(world_config: EngineConfig, events: list[Any]) -> None:
    """Whatever happens between two steps: the same rows and positions for the kernels; in the end the same counts, and
    the same activations."""
    fast, naive = (StateAdapter(HookSet(world_config, 8, 64, D_MODEL, graphs=True)) for _ in range(2))
    running: dict[str, int] = {}
    for at, (event, number) in enumerate([("come", 0), ("come", 1), ("prefill", 2), *events, ("step", 0)]):
        naive.hooks.settle()  # Which lays out its next step anew.
        for adapter in (fast, naive):
            happen(adapter, event, str(number), running, at)
            flow(adapter.hooks, at)
        if event in ("come", "go"):
            running.update({str(number): 0}) if event == "come" else running.pop(str(number), None)
        same_layout(fast.hooks, naive.hooks)
    for name in "01234":
        assert fast.hooks.report(name) == naive.hooks.report(name)


def happen(adapter: StateAdapter, event: str, name: str, running: dict[str, int], at: int) -> None:
    when = When(conditions=(Condition(sae="a", latent=1, value=0.0),))
    reads = [(), (Read(sae="a", top_k=3),), (Read(sae="c", top_k=2, latents=(5,)), Read(sae="a", latents=(1,)))]
    steerings = [Steering(edits=(NUDGE,), positions=p, reads=own) for p, own in zip(Positions, reads, strict=True)]
    steerings += [Steering(edits=(structs.replace(NUDGE, when=when),)), None]
    if event == "come":
        adapter.add(new(name, steerings[int(name)], computed=int(name)))
    elif event == "go":
        adapter.remove(name)
    elif event == "report":
        adapter.hooks.report(name)
    elif event == "dummy":
        adapter.begin_step(batch(nobody=3))
    elif running:
        step = batch(**dict.fromkeys(running, 1 if event == "step" else 1 + int(name)))
        IDS[:] = torch.randint(0, 1000, IDS.shape, generator=torch.Generator().manual_seed(at), dtype=IDS.dtype)
        adapter.begin_step(replace(step, input_ids=IDS[: step.num_tokens]))


def flow(hooks: HookSet, at: int) -> None:
    """A forward pass, as far as what is read goes: other streams in every step."""
    for hook in hooks.hooks:
        assert isinstance(hook, GraphHook)
        hook.tap.normal_(generator=torch.Generator().manual_seed(at))


def same_layout(one: HookSet, other: HookSet) -> None:
    assert one.buffers is not None
    assert other.buffers is not None
    held = other.buffers.slot > 0
    assert torch.equal(one.buffers.slot, other.buffers.slot)
    assert torch.equal(one.buffers.columns[:, held], other.buffers.columns[:, held])
    assert torch.equal(one.conditions.truths, other.conditions.truths)


def test_a_step_of_requests_that_only_generate_is_not_laid_out_anew(state: Any, hooks: HookSet) -> None:
    """Until one of them comes, goes, or comes back."""
    state.add_request(0, new("a", Steering(edits=(NUDGE,))))
    steps = [batch(a=4, b=1), batch(a=1, b=1), batch(a=1, b=1), batch(a=1, b=1), batch(b=1, a=1), batch(b=1, a=2)]
    repeated = []
    for step in steps:
        before = hooks.repeats
        state.prepare_inputs(step, None)
        repeated.append(hooks.repeats > before)
    assert repeated == [False, False, True, True, False, False]
    state.prepare_inputs(batch(a=1), None)
    state.remove_request("a")
    state.add_request(0, new("a", Steering(edits=(NUDGE,))))
    state.prepare_inputs(batch(a=1), None)
    assert not hooks.repeats


def test_so_it_is_where_they_are_read(state: Any, hooks: HookSet) -> None:
    """Each token's id and stream are those of its own step, against the dictionary's own encoding."""
    state.add_request(0, new("a", Steering(reads=(Read(sae="a", top_k=3),))))
    state.add_request(1, new("b", Steering(edits=(NUDGE,))))
    first, streams, ids = hooks.hooks[0], [], []
    assert isinstance(first, GraphHook)
    for at, tokens in enumerate([4, 1, 1, 1, 1]):
        step = batch(b=1, a=tokens)
        step.input_ids[:] = torch.arange(len(step.input_ids)) + 10 * at
        state.prepare_inputs(step, None)
        flow(hooks, at)
        streams.append(first.tap[1 : 1 + tokens].clone())
        ids += step.input_ids[1 : 1 + tokens].tolist()
    assert hooks.repeats == 3
    read = report(hooks, "a").activations
    assert read is not None
    assert [(token.position, token.token) for token in read] == list(enumerate(ids))
    for token, a in zip(read, DICTIONARIES[POINTS[0]]["a"].encode(torch.cat(streams)), strict=True):
        strongest = a.topk(3)
        assert list(token.latents) == strongest.indices[strongest.values > 0].tolist()
        torch.testing.assert_close(torch.tensor(token.activations), strongest.values[strongest.values > 0])


def test_dummy_runs_touch_nobody_although_they_point_at_live_slots(state: Any, hooks: HookSet) -> None:
    state.add_request(0, new("a", Steering(edits=(NUDGE,))))
    state.prepare_inputs(batch(a=4), None)
    run(hooks, [(0, p) for p in range(4)])
    dummy = InputBatch.make_dummy(2, 6, InputBuffers(max_num_reqs=8, max_num_tokens=64, device=torch.device("cpu")))
    for lay_out in (lambda: state.prepare_inputs(dummy, None), lambda: state.prepare_dummy_inputs(2, 6)):
        lay_out()
        before, after = run(hooks, [(7, p) for p in range(6)])
        assert torch.equal(before, after)
    assert report(hooks, "a").seen_tokens == 4


def test_a_preempted_request_comes_back_and_is_counted_once(state: Any, hooks: HookSet) -> None:
    steering = Steering(edits=(NUDGE,))
    state.add_request(0, new("a", steering))
    state.prepare_inputs(batch(a=5), None)
    run(hooks, [(0, p) for p in range(5)])
    state.remove_request("a")
    state.remove_request("a")
    state.add_request(3, new("a", steering))
    state.prepare_inputs(batch(a=6), None)
    before, after = run(hooks, [(0, p) for p in range(6)])
    torch.testing.assert_close(after, naive(steering, list(range(6)), before))
    done = report(hooks, "a")
    assert (done.steered_tokens, done.seen_tokens, done.expected_tokens, done.recomputed_tokens) == (6, 11, 11, 5)


def test_ids_that_were_never_added_and_reused_slots_leave_nothing(state: Any, hooks: HookSet) -> None:
    state.remove_request("_warmup_0_")
    state.add_request(0, new("a", Steering(edits=(NUDGE,))))
    state.remove_request("a")
    state.add_request(0, new("plain", None))
    state.prepare_inputs(batch(plain=3), None)
    before, after = run(hooks, [(1, p) for p in range(3)])
    assert torch.equal(before, after)
    assert len(hooks.rows.free) == 8


def test_a_new_request_with_the_id_of_one_that_is_gone_starts_from_nothing(state: Any, hooks: HookSet) -> None:
    """Ids are clients' where vLLM does not randomize them. What had fired must not go on, nor what was computed."""
    fired = When(conditions=(Condition(sae="a", latent=1, op=Op.BELOW, value=1e6, so_far=True),))
    never = When(conditions=(Condition(sae="a", latent=1, op=Op.ABOVE, value=1e6, so_far=True),))
    first, second = (Steering(edits=(structs.replace(NUDGE, when=when),)) for when in (fired, never))
    for number, steering in enumerate((first, second)):
        request = new("a", None)
        carried = admitted(steering, f"report-{number}", nonce=f"nonce-{number}").to_json()
        state.add_request(0, replace(request, sampling_params=SamplingParams(extra_args={KEY: carried})))
        state.prepare_inputs(batch(a=5), None)
        before, after = run(hooks, [(0, p) for p in range(5)])
        torch.testing.assert_close(after, naive(steering, list(range(5)), before))
        state.remove_request("a")
        done = report(hooks, f"report-{number}")
        assert (done.complete, done.recomputed_tokens) == (True, 0)


def test_what_the_worker_refuses_has_a_report_that_says_why(state: Any, hooks: HookSet) -> None:
    state.add_request(0, new("a", Steering(edits=(structs.replace(NUDGE, latent=10_000),))))
    state.prepare_inputs(batch(a=3), None)
    before, after = run(hooks, [(0, p) for p in range(3)])
    assert torch.equal(before, after)
    assert "latent 10000" in report(hooks, "a").refused


@pytest.mark.parametrize("maker", [None, Maker.REQUEST])
def test_what_did_not_come_through_admission_is_not_run(state: Any, hooks: HookSet, maker: Maker | None) -> None:
    steering = Steering(edits=(NUDGE,), report="a")
    text = (sealed(steering, maker) if maker is not None else steering).to_json()
    request = replace(new("a", None), sampling_params=SamplingParams(extra_args={KEY: text}))
    state.add_request(0, request)
    state.prepare_inputs(batch(a=3), None)
    before, after = run(hooks, [(0, p) for p in range(3)])
    assert torch.equal(before, after)
    refused = report(hooks, "a")
    assert "admission" in refused.refused
    assert "admission" in refused.lost(steering)


def test_a_prompt_of_embeddings_has_a_length_too(state: Any, hooks: HookSet) -> None:
    steering = Steering(edits=(NUDGE,), positions=Positions.PROMPT)
    request = replace(new("a", steering), prompt_token_ids=None, prompt_embeds=torch.zeros(PROMPT, 2))
    state.featurehub.add(request)
    state.prepare_inputs(batch(a=PROMPT + 2), None)
    before, after = run(hooks, [(0, p) for p in range(PROMPT + 2)])
    torch.testing.assert_close(after, naive(steering, list(range(PROMPT + 2)), before))


def test_aborts_replace_what_is_sampled_where_the_runner_lets_us(state: Any, hooks: HookSet) -> None:
    guarded = Steering(aborts=(Abort(event="e", when=ALWAYS, positions=Positions.GENERATED),), stop_token=STOP)
    state.add_request(0, new("a", guarded))
    assert not state.featurehub.rows
    sampler, rejection = state.custom_sampler(SampleOnes())
    assert rejection is None
    assert sampler.vocabulary == 100
    state.add_request(0, new("a", guarded))
    state.add_request(1, new("b", Steering(edits=(NUDGE,))))
    for tokens, wanted in [(4, [1, 1]), (1, [STOP, 1])]:
        step = batch(a=tokens, b=1)
        state.prepare_inputs(step, None)
        start = 0 if tokens == 4 else 4
        run(hooks, [(0, start + p) for p in range(tokens)] + [(1, start)])
        assert sampler(None, step).sampled_token_ids[:, 0].tolist() == wanted
    aborted = report(hooks, "a").aborted
    assert aborted is not None
    assert (aborted.event, aborted.position) == ("e", PROMPT)


class SampleOnes:
    vocabulary = 100

    def __call__(self, logits: object, input_batch: Any) -> Any:
        return SimpleNamespace(sampled_token_ids=torch.ones(input_batch.num_reqs, 1, dtype=torch.long))


def test_without_hooks_the_state_is_vllms_own_and_a_strange_one_is_refused(hooks: HookSet) -> None:
    with pytest.raises(UnsupportedModel, match="add_request"):
        hooked_state(object)
    install(None)
    assert hooked_state(DefaultModelState) is DefaultModelState


def test_new_requests_are_read_for_a_sample_in_the_step_in_which_they_run(state: Any, hooks: HookSet) -> None:
    """A plain one under the spare row, a steered one under its own; one that is edited too early is not."""
    late = Steering(edits=(LatentEdit(sae="c", latent=3, mode=Mode.NUDGE, value=5.0),))
    asked = {"early": Steering(edits=(NUDGE,)), "plain": None, "steered": late}
    with sampling() as (sampler, _):
        for index, (id, steering) in enumerate(asked.items()):
            state.add_request(index, replace(new(id, steering), prompt_token_ids=list(range(9))))
        state.apply_staged_writes()
        state.prepare_inputs(batch(early=9, plain=9, steered=9), None)
        assert sampler.wanted is not None
        assert (sampler.wanted.places, sampler.wanted.counts, sampler.came) == ([0, 1], [8, 8], 2)
        assert sampler.wanted.bare.tolist() == list(range(10, 18))
        before, _ = run(hooks, [(request, position) for request in range(3) for position in range(9)])
        state.prepare_inputs(batch(early=1, plain=1, steered=1), None)
        run(hooks, [(request, 9) for request in range(3)])
        assert sampler.wanted is None
        for at, first in ((0, 10), (1, 19)):
            torch.testing.assert_close(sampler.reservoir[at][0], before[first : first + 8])
        state.add_request(5, replace(new("next", None), prompt_token_ids=list(range(9))))
        state.prepare_dummy_inputs(2, 4)
        state.prepare_inputs(batch(next=9), None)
        assert sampler.came == 3
