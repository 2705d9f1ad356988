"""SAEs come and go between the steps of requests that run, under the naive reference throughout."""

from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from msgspec.structs import replace

from featurehub.artifacts.manifest import HookPoint
from featurehub.conditions import Op, Positions
from featurehub.dictionary import Dictionary
from featurehub.edits import Abort, Condition, LatentEdit, Read, Steering, When
from featurehub.engine.config import EngineConfig, HookConfig, SaeConfig
from featurehub.engine.exchange import exchange, prepare
from featurehub.engine.hookset import HookSet
from featurehub.errors import IncompatibleArtifact, InvalidConfig, InvalidEdit
from featurehub.features import Mode
from tests.engine.world import D_MODEL, DICTIONARIES, FIRST, POINTS, Chunk, World, check_report, whole_stream

LONG_BEFORE = Condition(sae="a", latent=4, op=Op.ABOVE, value=1.0, so_far=True)


def when(*conditions: Condition) -> When:
    return When(conditions=conditions)


def edits(sae: str, condition: Condition | None = None) -> tuple[LatentEdit, ...]:
    held = when(condition) if condition else None
    values = {Mode.NUDGE: 3.0, Mode.PIN: 2.0, Mode.MUL: -1.5, Mode.ABLATE: 0.0}
    return tuple(
        LatentEdit(sae=sae, latent=3 + i, mode=mode, value=value, when=held if i % 2 else None)
        for i, (mode, value) in enumerate(values.items())
    )


STEERINGS = [
    Steering(edits=edits("a", LONG_BEFORE)),
    Steering(edits=edits("c", LONG_BEFORE), positions=Positions.GENERATED),
    Steering(edits=edits("c"), aborts=(Abort(event="e", when=when(Condition(sae="c", latent=2, value=4.0))),)),
    Steering(reads=(Read(sae="a", top_k=3, latents=(1,)),)),
]
"""Of the SAEs ``a`` and ``c``, which stay."""


def swapped(config: EngineConfig) -> EngineConfig:
    """With ``b`` before ``a``, so that each latent of ``a`` has another row."""
    first, last = config.hooks
    return config.model_copy(update={"hooks": (first.model_copy(update={"saes": first.saes[::-1]}), last)})


def configs(config: EngineConfig) -> list[EngineConfig]:
    return [config.only("ac"), config, swapped(config)]


def give(hooks: HookSet, config: EngineConfig) -> None:
    exchange(hooks, prepare(hooks, config))


def running(config: EngineConfig, steerings: Sequence[Steering], graphs: bool = False) -> World:
    return World(config, steerings, prompt_len=3, dtype=torch.float32, graphs=graphs)


@pytest.mark.parametrize("graphs", [False, True])
def test_requests_go_on_as_if_nothing_had_happened(world_config: EngineConfig, graphs: bool) -> None:
    """A step, an exchange, and so on: every stream is the reference's, every report complete."""
    first, *others = configs(world_config)
    world = running(first, STEERINGS, graphs)
    for step in range(8):
        size = 3 if step == 0 else 1
        at = 0 if step == 0 else 2 + step
        world.step([Chunk(i, at, size) for i in range(len(STEERINGS))])
        give(world.hooks, (first, *others)[(step + 1) % 3])
    for request in range(3):
        check_report(world, request)
    report = world.report(3)
    assert report.activations is not None
    expected = DICTIONARIES[POINTS[0]]["a"].encode(whole_stream(3, 0, 10))
    assert len(report.activations) == 10
    for token, row in zip(report.activations, expected, strict=True):
        top = row.topk(3).values
        named = torch.cat([top[top > 0], row[1:2]])
        torch.testing.assert_close(torch.tensor(token.activations), named, rtol=1e-4, atol=1e-4)


def test_a_row_that_was_filled_before_and_is_written_after_an_exchange(world_config: EngineConfig) -> None:
    world = running(swapped(world_config), STEERINGS[:1])
    world.rows[0] = world.hooks.admit(world.steerings[0], 3)
    give(world.hooks, world_config.only("ac"))
    world.step([Chunk(0, 0, 3)])
    check_report(world, 0)


def test_so_does_a_request_that_was_preempted_meanwhile(world_config: EngineConfig) -> None:
    """What it had met stays met."""
    world = running(world_config, STEERINGS[:2])
    world.step([Chunk(0, 0, 4), Chunk(1, 0, 4)])
    world.preempt(0)
    give(world.hooks, world_config.only("ac"))
    world.step([Chunk(0, 0, 4), Chunk(1, 4, 1)])
    world.step([Chunk(0, 4, 2), Chunk(1, 5, 1)])
    for request in range(2):
        check_report(world, request)


def test_an_sae_that_came_steers(world_config: EngineConfig) -> None:
    world = running(world_config.only("ac"), [Steering(edits=edits("b"), reads=(Read(sae="b", top_k=2),)), *STEERINGS])
    world.step([Chunk(1, 0, 3)])
    with pytest.raises(InvalidEdit, match="does not hold the SAE b"):
        world.hooks.admit(world.steerings[0], 3)
    give(world.hooks, world_config)
    world.step([Chunk(0, 0, 3), Chunk(1, 3, 1)])
    for request in range(2):
        check_report(world, request)


def test_the_only_sae_of_a_hook_point_may_go_and_come_again(world_config: EngineConfig) -> None:
    world = running(world_config, STEERINGS[:2])
    give(world.hooks, world_config.only("c"))
    assert world.hooks.hooks[0].table is not None
    plain = Steering(edits=edits("c"), report="plain")
    world.hooks.release(world.hooks.admit(plain, 3))
    with pytest.raises(InvalidEdit, match="holds c"):
        world.hooks.admit(world.steerings[0], 3)
    give(world.hooks, world_config)
    world.step([Chunk(0, 0, 3), Chunk(1, 0, 3)])
    for request in range(2):
        check_report(world, request)


def test_a_request_whose_sae_went_reports_that_and_the_next_in_its_row_does_not(world_config: EngineConfig) -> None:
    world = running(world_config, [Steering(edits=edits("b"))])
    world.step([Chunk(0, 0, 3)])
    give(world.hooks, world_config.only("ac"))
    assert "taken away" in world.report(0).lost(world.steerings[0])
    world.hooks.release(world.rows[0])
    after = replace(STEERINGS[0], report="after")
    assert world.hooks.admit(after, 3) == world.rows[0]
    report = world.hooks.report("after")
    assert report is not None
    assert not report.refused


def test_what_does_not_change_is_not_loaded(world_config: EngineConfig) -> None:
    world = running(world_config, STEERINGS[:1])
    first, last = prepare(world.hooks, world_config.only("ac")).banks
    assert first is not None
    assert (set(first.slices), last) == ({"a"}, None)


def test_other_hook_points_are_refused(world_config: EngineConfig) -> None:
    world = running(world_config, STEERINGS[:1])
    elsewhere = world_config.hooks[1].model_copy(update={"point": HookPoint(layer=5)})
    with pytest.raises(InvalidConfig, match="hook points"):
        prepare(world.hooks, world_config.model_copy(update={"hooks": (world_config.hooks[0], elsewhere)}))
    capturing = HookSet(EngineConfig.capturing(FIRST), 1, 8, D_MODEL)
    with pytest.raises(InvalidConfig, match="captured only"):
        prepare(capturing, EngineConfig(hooks=world_config.hooks[:1]))


def test_an_sae_of_another_width_is_refused_and_changes_nothing(world_config: EngineConfig, tmp_path: Path) -> None:
    rows, zeros = torch.eye(4, 8), torch.zeros(4)
    Dictionary(rows, rows, zeros, torch.zeros(8), zeros).save(tmp_path / "sae.safetensors")
    world = running(world_config, STEERINGS[:1])
    wrong = HookConfig(point=FIRST, saes=(SaeConfig(id="w", folder=tmp_path, d_sae=4),))
    with pytest.raises(IncompatibleArtifact, match="reads 8 numbers"):
        prepare(world.hooks, world_config.model_copy(update={"hooks": (wrong, world_config.hooks[1])}))
    world.step([Chunk(0, 0, 3)])
    check_report(world, 0)
