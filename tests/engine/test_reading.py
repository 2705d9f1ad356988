"""What a hook set reads, against the dictionaries' own encoding."""

from collections.abc import Iterator
from unittest.mock import patch

import msgspec
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from torch import Tensor

from featurehub.activations import PackedActivations
from featurehub.edits import Condition, LatentEdit, Read, Steering, When
from featurehub.engine.config import EngineConfig
from featurehub.errors import SteeringLost
from featurehub.features import Mode
from featurehub.report import SteerReport
from tests.engine.world import D_SAE, DICTIONARIES, POINTS, Chunk, World, token_id, whole_stream

NUDGE = LatentEdit(sae="a", latent=3, mode=Mode.NUDGE, value=5.0)


def readings(seed: int) -> Iterator[tuple[Steering, list[Chunk]]]:
    generator = np.random.default_rng(seed)
    for request in range(3):
        reads = tuple(
            Read(sae=sae, top_k=int(generator.integers(0, 30)), latents=tuple(generator.integers(0, D_SAE, 2).tolist()))
            for sae in "abc"[: 1 + request]
        )
        steering = Steering(reads=reads, capture=(POINTS[request % 2],), edits=(NUDGE,))
        yield steering, [Chunk(request, 0, 3), Chunk(request, 3, 1), Chunk(request, 2, 4)]


@pytest.mark.parametrize("together", [1, 5, 1000])
@given(seed=st.integers(0, 100))
def test_what_is_read_is_the_dictionary_s_own_encoding_before_steering(
    world_config: EngineConfig, together: int, seed: int
) -> None:
    """In chunks, some tokens twice; every position is reported once. Encoded at each step, after some, at the end."""
    with patch("featurehub.engine.reading.TOKENS_TOGETHER", together):
        check_readings(world_config, seed)


def check_readings(world_config: EngineConfig, seed: int) -> None:
    steerings, chunks = zip(*readings(seed), strict=True)
    world = World(world_config, list(steerings), 4, torch.float32)
    for step in zip(*chunks, strict=True):
        world.step(list(step))
    for request, steering in enumerate(steerings):
        streams = {name: whole_stream(request, h, 6) for h, name in enumerate(POINTS)}
        for name in steering.capture:
            torch.testing.assert_close(world.hooks.captured(f"r{request}", name), streams[name])
        report = world.report(request)
        check_activations(report, steering, streams)
        assert all(token.token == token_id(request, token.position) for token in report.activations or ())
    assert all(hook.readings.activations.bytes == 0 for hook in world.hooks.hooks)


def check_activations(report: SteerReport, steering: Steering, streams: dict[str, Tensor]) -> None:
    assert report.activations is not None
    by_token = {(token.sae, token.position): token for token in report.activations}
    assert len(by_token) == len(report.activations) == 6 * len(steering.reads)
    for read in steering.reads:
        name = next(name for name in POINTS if read.sae in DICTIONARIES[name])
        a = DICTIONARIES[name][read.sae].encode(streams[name])
        for position in range(6):
            token = by_token[read.sae, position]
            values = sorted(((float(v), -i) for i, v in enumerate(a[position]) if v > 0), reverse=True)[: read.top_k]
            wanted = [-i for _, i in values] + list(read.latents)
            assert list(token.latents) == wanted
            assert token.activations == pytest.approx([float(a[position, i]) for i in wanted], rel=1e-4, abs=1e-4)


@pytest.mark.parametrize("together", [1, 1000])
def test_requests_that_share_a_key_are_never_merged(world_config: EngineConfig, together: int) -> None:
    """The prompts of one list, say: in one step or in different ones, in chunks, preempted in between."""
    with patch("featurehub.engine.reading.TOKENS_TOGETHER", together):
        world = World(world_config, [Steering(reads=(Read(sae="a", top_k=4),))] * 2, 4, torch.float32)
        world.steerings = [replace(s, report="shared") for s in world.steerings]
        world.step([Chunk(0, 0, 2), Chunk(1, 0, 3)])
        world.preempt(1)
        world.step([Chunk(0, 2, 2)])
        world.step([Chunk(1, 0, 4)])
        report = world.hooks.report("shared")
    assert report is not None
    assert report.activations is not None
    assert len(report.requests) == len(report.activations.blocks) == 2
    assert all(block.is_gapless for block in report.activations.blocks)
    read = [[(t.position, t.token) for t in PackedActivations((block,))] for block in report.activations.blocks]
    assert sorted(read) == [[(p, token_id(request, p)) for p in range(4)] for request in (0, 1)]


def test_a_report_is_of_the_requests_that_ran_each_counted_once(world_config: EngineConfig) -> None:
    """A preempted request keeps its number; one that was never admitted has none."""
    world = World(world_config, [Steering(edits=(NUDGE,))] * 3, 4, torch.float32)
    world.steerings = [replace(s, report="shared") for s in world.steerings]
    for position in range(3):
        world.step([Chunk(0, position, 1), Chunk(1, position, 1)])
        world.preempt(0)
    report = world.hooks.report("shared")
    assert report is not None
    assert len(report.requests) == 2


def test_what_a_request_reads_after_its_report_was_fetched_is_not_kept(world_config: EngineConfig) -> None:
    """The client is gone; nobody will ask again."""
    world = World(world_config, [Steering(reads=(Read(sae="a", top_k=4),), capture=(POINTS[0],))], 4, torch.float32)
    world.step([Chunk(0, 0, 2)])
    world.report(0)
    world.hooks.captured("r0", POINTS[0])
    world.step([Chunk(0, 2, 2)])
    world.preempt(0)
    readings = world.hooks.hooks[0].readings
    kept = (readings.activations.shares, readings.activations.unread, readings.captures.pieces)
    assert not any(kept)
    assert (readings.captures.bytes, readings.activations.bytes) == (0, 0)


def test_a_report_survives_the_wire(world_config: EngineConfig) -> None:
    """As vLLM sends it: through msgpack."""
    reads = (Read(sae="a", top_k=2, latents=(5,)), Read(sae="b", latents=(1, 2)))
    conditional = replace(NUDGE, when=When(conditions=(Condition(sae="a", latent=1, value=0.0),)))
    world = World(world_config, [Steering(reads=reads, edits=(NUDGE, conditional))], 4, torch.float32)
    world.step([Chunk(0, 0, 4)])
    report = world.report(0)
    wire = msgspec.msgpack.decode(msgspec.msgpack.encode(report.to_wire()))
    assert SteerReport.model_validate(wire) == report
    assert report.hooks[POINTS[0]].in_force


def test_a_report_has_as_many_objects_for_many_tokens_as_for_few(world_config: EngineConfig) -> None:
    """It is built inside the engine's loop, where everybody waits for it."""

    def objects(value: object) -> int:
        inner = value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else ()
        return 1 + sum(map(objects, inner))

    sizes = set()
    for tokens in (2, 500):
        world = World(world_config, [Steering(reads=(Read(sae="a", top_k=20),))], 4, torch.float32)
        world.step([Chunk(0, 0, tokens)])
        report = world.report(0)
        assert report.activations is not None
        assert len(report.activations) == tokens
        sizes.add(objects(report.to_wire()))
    assert len(sizes) == 1


def test_captures_beyond_the_bound_are_lost_and_said_so(
    world_config: EngineConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The newest request's are kept, however large; a request that lost its first tokens is an error, not a hole."""
    monkeypatch.setattr("featurehub.engine.captures.CAPTURES_KEPT", 4 * 16 * 6)
    world = World(world_config, [Steering(capture=(POINTS[0],))] * 3, 4, torch.float32)
    world.step([Chunk(0, 0, 4)])
    world.step([Chunk(1, 0, 4)])
    with pytest.raises(KeyError):
        world.hooks.captured("r0", POINTS[0])
    assert len(world.hooks.captured("r1", POINTS[0])) == 4
    world.step([Chunk(2, 0, 4)])
    world.step([Chunk(0, 4, 4)])
    with pytest.raises(SteeringLost, match="4 of 8"):
        world.hooks.captured("r0", POINTS[0])
    assert world.hooks.hooks[0].readings.captures.bytes == 0


def test_activations_beyond_the_bound_are_lost_and_said_so(
    world_config: EngineConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("featurehub.engine.reading.BYTES_KEPT", 200)
    monkeypatch.setattr("featurehub.engine.reading.TOKENS_TOGETHER", 1)
    world = World(world_config, [Steering(reads=(Read(sae="a", top_k=4),))] * 2, 4, torch.float32)
    world.step([Chunk(0, 0, 4)])
    world.step([Chunk(1, 0, 4)])
    assert (world.report(0).reads_lost, world.report(1).reads_lost) == (True, False)
