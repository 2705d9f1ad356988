"""What the sampler reads of a model's traffic, against the dictionaries' own encoding; and when it reads nothing."""

from collections import Counter
from collections.abc import Iterator, Sequence
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from msgspec.structs import replace
from torch import Tensor
from transformers import AutoModelForCausalLM

from featurehub.demo.bundle import bundled_model
from featurehub.dictionary import Dictionary
from featurehub.edits import LatentEdit, Read, Steering
from featurehub.engine import sampler as module
from featurehub.engine.allowance import SAVED, SamplingAllowance
from featurehub.engine.config import EngineConfig
from featurehub.engine.hookset import HookSet, current, install
from featurehub.engine.offline import Engine, Sampling
from featurehub.engine.sampler import Newcomer, Sampler, may_sample
from featurehub.engine.worker import HookWorker
from featurehub.features import Mode
from featurehub.input_drift.sample import REQUESTS, Sample
from tests.engine.samples import Clock, naive, same, sampling
from tests.engine.world import D_MODEL, DICTIONARIES, POINTS, Chunk, World

DEVICE = torch.device("cpu")


@pytest.fixture
def sampler() -> Iterator[Sampler]:
    with sampling() as (own, _):
        yield own


def looked(sampler: Sampler, hooks: HookSet) -> list[Sample]:
    """The samples of the requests so far: encoded at one look, handed out at the next."""
    assert sampler.look(hooks, 0.01)[0] == []
    return [Sample.of(wire) for wire in sampler.look(hooks, 0.01)[0]]


def steps(world: World, sampler: Sampler, tokens: int) -> None:
    """Each of the world's requests comes in a step of its own, and has a prompt of so many tokens."""
    sampler.of = (world.hooks, world.hooks.weights.identity)
    for request in range(len(world.steerings)):
        sampler.begin_step([Newcomer(1, tokens, 0, has_row=True)], DEVICE)
        world.step([Chunk(request, 0, tokens)])


def streams(request: int, tokens: int, hook: int, world: World) -> Tensor:
    """Of a request at a hook point, without position 0."""
    hidden, residual = world.streams([Chunk(request, 0, tokens)], hook)
    return (hidden + residual)[2 : 1 + tokens]


@pytest.mark.parametrize("graphs", [False, True])
@pytest.mark.parametrize("steering", [Steering(reads=(Read(sae="a", top_k=1),)), Steering()])
def test_a_sample_is_what_the_dictionaries_make_of_the_same_tokens(
    world_config: EngineConfig, sampler: Sampler, graphs: bool, steering: Steering
) -> None:
    world = World(world_config, [steering] * REQUESTS, 9, torch.float32, graphs=graphs)
    steps(world, sampler, 9)
    found = {each.sae: each for each in looked(sampler, world.hooks)}
    assert set(found) == set("abc")
    for index, point in enumerate(POINTS):
        requests = [streams(request, 9, index, world) for request in range(REQUESTS)]
        for sae, dictionary in DICTIONARIES[point].items():
            same(found[sae], naive(dictionary, requests))


def test_steered_requests_are_read_before_they_are_edited(world_config: EngineConfig, sampler: Sampler) -> None:
    """At the last hook point, where ``may_sample`` lets edits be."""
    edited = Steering(edits=(LatentEdit(sae="c", latent=3, mode=Mode.NUDGE, value=50.0),))
    world = World(world_config, [edited] * REQUESTS, 6, torch.float32)
    steps(world, sampler, 6)
    [sample] = [each for each in looked(sampler, world.hooks) if each.sae == "c"]
    requests = [streams(request, 6, 1, world) for request in range(REQUESTS)]
    same(sample, naive(DICTIONARIES[POINTS[1]]["c"], requests))


def test_tokens_of_requests_without_a_row_are_tapped_in_captured_graphs(
    world_config: EngineConfig, sampler: Sampler
) -> None:
    """A row of their own edits nothing; the step after reads nothing of what stands there."""
    hooks = HookSet(world_config, 4, 64, D_MODEL, graphs=True)
    sampler.of = (hooks, hooks.weights.identity)
    kept: list[Tensor] = []
    generator = torch.Generator().manual_seed(0)
    for _ in range(REQUESTS):
        hidden, residual = torch.randn(2, 12, D_MODEL, generator=generator)
        before = hidden + residual
        sampler.begin_step([Newcomer(2, 8, 0)], DEVICE)
        hooks.begin_step(None, None)
        for hook in hooks.hooks:
            hook.run(hidden, residual)
        assert torch.equal(hidden + residual, before)
        kept.append(before[3:10])
        sampler.begin_step((), DEVICE)
        hooks.begin_step(None, None)
        assert not hooks.buffers.slot.any()  # type: ignore[union-attr]
        for hook in hooks.hooks:
            hook.run(hidden.clone().fill_(9.0), residual)
    found = looked(sampler, hooks)
    same(found[0], naive(DICTIONARIES[POINTS[0]]["a"], kept))


def test_every_request_stands_in_the_reservoir_equally_often() -> None:
    counts: Counter[int] = Counter()
    for seed in range(400):
        with sampling(seed) as (sampler, _):
            held: dict[int, int] = {}
            for request in range(4 * REQUESTS):
                if (place := sampler.draw()) < REQUESTS:
                    held[place] = request
            counts.update(held.values())
    assert sum(counts.values()) == 400 * REQUESTS
    # Each 400 times with probability 1/4: 100 ± 8.7.
    assert all(60 < counts[request] < 140 for request in range(4 * REQUESTS))


def test_tokens_are_chosen_at_random_and_never_the_first_position(sampler: Sampler) -> None:
    counts: Counter[int] = Counter()
    for _ in range(300):
        own = sampler.choose(Newcomer(100, 64, 0)).tolist()
        assert len(set(own)) == module.TOKENS
        assert own == sorted(own)
        counts.update(own)
    assert set(counts) == set(range(101, 164))
    assert len(sampler.choose(Newcomer(0, 5, 0))) == 4
    assert len(sampler.choose(Newcomer(0, 4, 0))) == 0
    # Behind a cached prefix the first token of the step is as good as any.
    assert sampler.choose(Newcomer(7, 4, 128)).tolist() == [7, 8, 9, 10]


def test_a_huge_token_counts_for_nothing(world_config: EngineConfig, sampler: Sampler) -> None:
    hooks = HookSet(world_config, 4, 256, D_MODEL)
    generator = torch.Generator().manual_seed(1)
    requests = [torch.randn(6, D_MODEL, generator=generator) for _ in range(REQUESTS)]
    sampler.of = (hooks, hooks.weights.identity)
    for x in requests:
        stream = torch.cat([x[:1], x])
        stream[3] *= 1e3
        sampler.begin_step([Newcomer(0, 7, 0)], DEVICE)
        hooks.begin_step(None, None)
        for hook in hooks.hooks:
            hook.run(stream.clone(), torch.zeros(7, D_MODEL))
    found = looked(sampler, hooks)
    same(found[0], naive(DICTIONARIES[POINTS[0]]["a"], [x[[0, 1, 3, 4, 5]] for x in requests]))


def request(id: str = "a", lora: object = None) -> Any:
    return SimpleNamespace(req_id=id, lora_request=lora)


def test_who_may_be_read(world_config: EngineConfig) -> None:
    """Neither an adapter's requests, which run another function, nor the server's own, nor what is edited too early."""
    hooks = HookSet(world_config, 1, 8, D_MODEL)
    edit = LatentEdit(sae="c", latent=3, mode=Mode.NUDGE, value=5.0)
    late, early = Steering(edits=(edit,)), Steering(edits=(edit, replace(edit, sae="a")))
    assert may_sample(request(), None, hooks)
    assert may_sample(request(), late, hooks)
    assert may_sample(request(), Steering(reads=(Read(sae="a", top_k=4),)), hooks)
    assert not may_sample(request(), early, hooks)
    assert not may_sample(request("featurehub-1"), None, hooks)
    assert not may_sample(request(lora=object()), None, hooks)


def test_nothing_is_read_while_a_step_leaves_no_room_for_others(sampler: Sampler) -> None:
    newcomers = [Newcomer(0, 16, 0)]
    sampler.begin_step(newcomers, DEVICE, crowded=True)
    assert (sampler.wanted, sampler.came) == (None, 0)
    sampler.begin_step(newcomers, DEVICE)
    assert sampler.wanted is not None
    sampler.begin_step((), DEVICE)
    assert sampler.wanted is None


def test_a_full_reservoir_waits_while_a_step_is_crowded_and_while_the_allowance_is_used_up(
    world_config: EngineConfig, sampler: Sampler
) -> None:
    world = World(world_config, [Steering()] * REQUESTS, 6, torch.float32)
    steps(world, sampler, 6)
    sampler.crowded = True
    assert looked(sampler, world.hooks) == []
    sampler.crowded, sampler.allowance.left = False, 0.0
    assert looked(sampler, world.hooks) == []
    sampler.begin_step([Newcomer(0, 16, 0)], DEVICE)
    assert sampler.wanted is None
    sampler.allowance.left = 1.0
    assert len(looked(sampler, world.hooks)) == 3
    assert sampler.came == 0


def test_what_was_put_aside_under_other_weights_is_never_encoded(world_config: EngineConfig, sampler: Sampler) -> None:
    world = World(world_config, [Steering()] * REQUESTS, 6, torch.float32)
    steps(world, sampler, 6)
    world.hooks.weights.identity = "others"
    assert looked(sampler, world.hooks) == []
    assert sampler.came == 0


def test_what_is_taken_stays_within_the_share() -> None:
    """Somebody takes a second whenever anything is left: over any time, no more than the share and one second."""
    clock = Clock()
    allowance = SamplingAllowance(clock)
    for _ in range(1000):
        clock.now += 1.0
        allowance.fill(0.01)
        if allowance.left > 0:
            with allowance:
                clock.now += 1.0
    assert allowance.taken == pytest.approx(0.01 * clock.now, abs=1.0)
    clock.now += 1e6
    allowance.fill(0.01)
    assert allowance.left == pytest.approx(0.01 * SAVED)


def test_a_worker_that_is_not_the_first_hands_out_nothing(world_config: EngineConfig, sampler: Sampler) -> None:
    module_hooks = HookSet(world_config, 1, 8, D_MODEL)
    worker = HookWorker()
    assert worker.featurehub_sampled(0.01) == ([], 0.0)
    install(module_hooks)
    try:
        sampler.active = False
        assert worker.featurehub_sampled(0.01)[0] == []
        assert sampler.active
        sampler.active = False
        worker.rank = 1  # type: ignore[attr-defined]
        assert worker.featurehub_sampled(0.01) == ([], 0.0)
        assert not sampler.active
    finally:
        install(None)


@pytest.mark.engine
def test_a_sample_of_the_real_engine_is_what_transformers_and_the_dictionary_give(
    engine: Engine, prompts: list[list[int]], dictionary: Dictionary, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Eager and compiled; sixteen unsteered and steered requests in one batch, all of whose tokens are read."""
    hooks, edit = current(), LatentEdit(latent=3, mode=Mode.NUDGE, value=40.0)
    assert hooks is not None
    monkeypatch.setattr(module, "TOKENS", 512)
    batch = (prompts * 6)[:REQUESTS]
    steerings = [Steering(edits=(edit,)) if at % 2 else None for at in range(REQUESTS)]
    engine.llm.reset_prefix_cache()
    with sampling() as (sampler, _):
        sampler.of = (hooks, hooks.weights.identity)
        list(engine.generate(batch, steerings, Sampling(temperature=0.0, max_tokens=3)))
        [sample] = looked(sampler, hooks)
    same(sample, naive(dictionary, twins(batch)))


def twins(batch: Sequence[list[int]]) -> list[Tensor]:
    """The streams that transformers gives, without position 0."""
    model = AutoModelForCausalLM.from_pretrained(bundled_model(), dtype=torch.float32)
    with torch.no_grad():
        runs = [model(torch.tensor([prompt]), output_hidden_states=True) for prompt in batch]
    return [run.hidden_states[4][0, 1:] for run in runs]
