"""The hooks against the naive equation, under every schedule: chunks, batches, preemption, conditions, aborts.

Steered tokens equal what ``featurehub.steering.Reference`` makes of them; all others keep every bit.
"""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from featurehub.conditions import Op, Positions
from featurehub.edits import Abort, Condition, LatentEdit, Read, Steering, When
from featurehub.engine.config import EngineConfig
from featurehub.engine.hookset import HookSet
from featurehub.engine.reports import REPORTS_KEPT
from featurehub.engine.rows import Batch
from featurehub.errors import IncompatibleArtifact, InvalidEdit
from featurehub.features import Mode
from tests.engine.world import (
    D_MODEL,
    D_SAE,
    DICTIONARIES,
    POINTS,
    STEERINGS,
    TOKENS,
    Chunk,
    K,
    World,
    check_report,
    schedules,
    untouched,
    whole_stream,
)  # fmt: skip

DTYPES = (torch.float32, torch.bfloat16)
NUDGE = LatentEdit(sae="a", latent=3, mode=Mode.NUDGE, value=5.0)
PIN = LatentEdit(sae="b", latent=5, mode=Mode.PIN, value=4.0)
ABLATE = LatentEdit(sae="c", latent=7, mode=Mode.ABLATE)


def when(*conditions: Condition) -> When:
    return When(conditions=conditions)


@given(data=st.data(), dtype=st.sampled_from(DTYPES))
def test_every_mix_under_every_schedule_is_the_naive_equation(
    world_config: EngineConfig, data: st.DataObject, dtype: torch.dtype
) -> None:
    steerings = data.draw(st.lists(STEERINGS, min_size=1, max_size=4))
    world = World(world_config, steerings, prompt_len=data.draw(st.integers(0, 8)), dtype=dtype)
    for event in data.draw(schedules(len(steerings))):
        world.preempt(event) if isinstance(event, int) else world.step(event)
    for request in {request for request, _, _ in world.naive}:
        check_report(world, request)


@pytest.mark.parametrize("dtype", DTYPES)
def test_256_distinct_edit_sets_run_side_by_side(world_config: EngineConfig, dtype: torch.dtype) -> None:
    modes = list(Mode)
    steerings = [
        Steering(
            edits=(
                LatentEdit(sae="ab"[i % 2], latent=i % D_SAE, mode=modes[i % 4], value=0.5 + i / 16),
                LatentEdit(sae="c", latent=(i + 7) % D_SAE, mode=Mode.NUDGE, value=-i / 32),
            ),
            dose_max=0.5 + i / 256,
        )
        for i in range(256)
    ]
    world = World(world_config, steerings, prompt_len=2, dtype=dtype)
    world.step([Chunk(i, 0, 1 + i % 3) for i in range(256)])
    assert not world.hooks.rows.free


def only(config: EngineConfig, *edits: LatentEdit, tokens: int = 3, **fields: float) -> World:
    world = World(config, [Steering(edits=edits, **fields)], tokens, torch.float32)
    world.step([Chunk(0, 0, tokens)])
    return world


def test_the_largest_value_that_is_accepted_keeps_the_stream_finite(world_config: EngineConfig) -> None:
    report = only(world_config, replace(NUDGE, value=1e9), dose_max=0.25).report(0)
    assert report.clipped == 3
    assert report.dose_max == pytest.approx(0.25, rel=1e-5)


def test_a_step_without_steered_tokens_leaves_the_step_of_before_behind(world_config: EngineConfig) -> None:
    world = only(world_config, NUDGE)
    world.hooks.begin_step(None, torch.arange(TOKENS))
    before = world.streams([Chunk(0, 0, 3)], 0)
    after = before[0].clone(), before[1].clone()
    world.hooks.hooks[0].run(*after)
    for at in range(5):
        untouched(before, after, at)


def test_a_single_tensor_is_the_stream_itself(world_config: EngineConfig) -> None:
    """Layers of the GPT-2 type hand on no residual."""
    world = only(world_config, NUDGE, PIN)
    hidden, residual = world.streams([Chunk(0, 0, 3)], 0)
    whole = hidden + residual
    world.hooks.hooks[0].run(whole, None)
    for position in range(3):
        torch.testing.assert_close(whole[1 + position], world.naive[0, position, POINTS[0]].x, rtol=1e-4, atol=1e-4)


def test_a_freed_row_is_as_if_it_had_never_been_used(world_config: EngineConfig) -> None:
    """After everything that a request can ask for."""
    fired = when(Condition(sae="a", latent=1, value=0.0, so_far=True))
    everything = (NUDGE, PIN, ABLATE, replace(NUDGE, when=fired))
    world = only(world_config, *everything, aborts=[Abort(event="e", when=fired)])
    world.preempt(0)
    fresh = HookSet(world_config, max_reqs=1, max_tokens=TOKENS, d_model=D_MODEL)
    for hooks in (world.hooks, fresh):
        assert hooks.admit(Steering(edits=(NUDGE,)), 3) == 1
        hooks.write()
    for holder, clean in [
        (world.hooks.conditions, fresh.conditions),
        *((mine.table, theirs.table) for mine, theirs in zip(world.hooks.hooks, fresh.hooks, strict=True)),
    ]:
        for name, value in vars(clean).items():
            if isinstance(value, torch.Tensor) and name not in ("latent", "truths", "value", "sign", "so_far"):
                assert torch.equal(getattr(holder, name), value), name


@given(st.lists(st.booleans(), max_size=40))
def test_rows_in_use_are_distinct_and_all_come_back(world_config: EngineConfig, admissions: list[bool]) -> None:
    hooks = HookSet(world_config, max_reqs=8, max_tokens=8, d_model=D_MODEL)
    used: list[int] = []
    for admit in admissions:
        if admit and len(used) < 8:
            used.append(hooks.admit(Steering(edits=(NUDGE,)), 1))
        elif used:
            hooks.release(used.pop(0))
        assert len(set(used)) == len(used)
        assert 0 not in used
        assert sorted([*used, *hooks.rows.free]) == list(range(1, 9))


def test_reports_of_requests_with_one_key_add_up(world_config: EngineConfig) -> None:
    world = World(world_config, [Steering(edits=(NUDGE,))] * 2, 4, torch.float32)
    world.steerings = [replace(s, report="shared") for s in world.steerings]
    world.step([Chunk(0, 0, 3), Chunk(1, 0, 1)])
    world.preempt(0)
    report = world.hooks.report("shared")
    assert report is not None
    assert (report.steered_tokens, report.seen_tokens, report.expected_tokens) == (4, 4, 4)


def test_a_report_that_lost_one_of_its_requests_says_so(
    world_config: EngineConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first prompt of a list is done early, and its counts are dropped before the last one's are there."""
    monkeypatch.setattr("featurehub.engine.reports.REPORTS_KEPT", 1)
    hooks = HookSet(world_config, max_reqs=1, max_tokens=8, d_model=D_MODEL)
    for key in ("shared", "another", "shared"):
        hooks.release(hooks.admit(Steering(edits=(NUDGE,), report=key), 1))
    report = hooks.report("shared")
    assert report is not None
    assert len(report.requests) == 1


def test_a_request_that_still_runs_reports_what_it_came_to_so_far_and_only_once(world_config: EngineConfig) -> None:
    world = only(world_config, NUDGE)
    assert world.report(0).steered_tokens == 3
    world.preempt(0)
    assert world.hooks.report("r0") is None
    assert world.hooks.report("") is None
    assert not world.hooks.reports.kept


def test_a_token_that_the_op_never_saw_makes_the_report_incomplete(world_config: EngineConfig) -> None:
    world = World(world_config, [Steering(edits=(NUDGE, ABLATE))], 3, torch.float32)
    row = world.hooks.admit(world.steerings[0], 3)
    columns = (np.array([each], np.int64) for each in (row, 0, 3, 0))
    world.hooks.begin_step(Batch(*columns), torch.arange(TOKENS))
    world.hooks.hooks[0].run(*world.streams([Chunk(0, 0, 3)], 0))
    report = world.report(0)
    assert not report.complete
    assert (report.seen_tokens, report.expected_tokens) == (3, 6)


@pytest.mark.parametrize("second", [replace(PIN, latent=7), replace(PIN, sae="a"), NUDGE])
def test_a_row_s_next_request_is_steered_by_its_own_edits(world_config: EngineConfig, second: LatentEdit) -> None:
    """The world holds each step against the reference; both requests run alone, one token at a time, in one row."""
    world = World(world_config, [Steering(edits=(PIN,)), Steering(edits=(second,))], 4, torch.float32)
    for request in (0, 1):
        for position in range(3):
            world.step([Chunk(request, position, 1)])
        world.preempt(request)
    assert [world.report(request).steered_tokens for request in (0, 1)] == [3, 3]


def test_reports_that_nobody_fetches_are_bounded(world_config: EngineConfig) -> None:
    hooks = HookSet(world_config, max_reqs=1, max_tokens=8, d_model=D_MODEL)
    for i in range(REPORTS_KEPT + 10):
        hooks.release(hooks.admit(Steering(edits=(NUDGE,), report=f"r{i}"), 1))
    assert len(hooks.reports.kept) == REPORTS_KEPT
    assert hooks.report("r0") is None
    assert hooks.report(f"r{REPORTS_KEPT + 9}") is not None


@pytest.mark.parametrize(
    ("steering", "named"),
    [
        (Steering(edits=(NUDGE,) * (K + 1)), f"{K + 1} edits"),
        (Steering(edits=(replace(NUDGE, latent=D_SAE),)), f"latent {D_SAE}"),
        (Steering(edits=(replace(NUDGE, value=1e39),)), "1e\\+39"),
        (Steering(edits=(replace(NUDGE, sae="z"),)), "SAE z"),
        (Steering(edits=(NUDGE,), within=(3, 3)), "no position"),
        (Steering(reads=(Read(sae="a", latents=(D_SAE,)),), report="r"), f"latent {D_SAE}"),
        (Steering(reads=(Read(sae="a", top_k=1),)), "report key"),
        (Steering(capture=("layers.9.resid_post",), report="r"), "layers.9.resid_post"),
        (
            Steering(edits=(replace(NUDGE, when=when(Condition(sae="c", latent=1, value=0.0))),)),
            "reaches later",
        ),
        (
            Steering(aborts=tuple(Abort(event="e", when=when(Condition(latent=i, value=0.0))) for i in range(9))),
            "9 conditions",
        ),
    ],
)  # fmt: skip
def test_what_the_engine_cannot_do_is_refused_and_takes_no_row(
    world_config: EngineConfig, steering: Steering, named: str
) -> None:
    hooks = HookSet(world_config, max_reqs=2, max_tokens=8, d_model=D_MODEL)
    with pytest.raises(InvalidEdit, match=named):
        hooks.admit(steering, 3)
    assert len(hooks.rows.free) == 2


@pytest.mark.parametrize("any_of", [True, False])
@pytest.mark.parametrize("so_far", [True, False])
def test_conditions_decide_where_an_edit_is_in_force(world_config: EngineConfig, so_far: bool, any_of: bool) -> None:
    """The reference itself, against activations read by hand."""
    pairs = [Condition(sae="a", latent=i, op=Op.ABOVE, value=0.5, so_far=so_far) for i in (1, 2)]
    decided = When(conditions=tuple(pairs), any=any_of)
    world = only(world_config, replace(NUDGE, when=decided), tokens=12, dose_max=1000.0)
    x = whole_stream(0, 0, 12)
    met = DICTIONARIES[POINTS[0]]["a"].encode(x)[:, [1, 2]] > 0.5
    met = met.cummax(0).values if so_far else met
    wanted = met.any(1) if any_of else met.all(1)
    moved = [not torch.equal(world.naive[0, p, POINTS[0]].x, x[p]) for p in range(12)]
    assert moved == wanted.tolist()
    assert world.report(0).hooks[POINTS[0]].in_force == {0: int(wanted.sum())}


def test_positions_bound_what_an_abort_sees(world_config: EngineConfig) -> None:
    always = when(Condition(sae="a", latent=1, op=Op.BELOW, value=1e6))
    for positions, at in [(Positions.ALL, 0), (Positions.PROMPT, 0), (Positions.GENERATED, 4)]:
        world = World(
            world_config, [Steering(aborts=(Abort(event="e", when=always, positions=positions),))], 4, torch.float32
        )
        world.step([Chunk(0, 0, 6)])
        aborted = world.report(0).aborted
        assert aborted is not None
        assert aborted.position == at


def test_of_two_aborts_with_one_name_the_one_that_held_is_reported(world_config: EngineConfig) -> None:
    never, always = (when(Condition(sae="a", latent=1, op=op, value=1e6)) for op in (Op.ABOVE, Op.BELOW))
    for order in ((never, always), (always, never), (never, never, always)):
        aborts = tuple(Abort(event="unsafe", when=each) for each in order)
        world = World(world_config, [Steering(aborts=aborts)], 4, torch.float32)
        world.step([Chunk(0, 0, 6)])
        aborted = world.report(0).aborted
        assert aborted is not None
        assert (aborted.index, aborted.position) == (order.index(always), 0)


def test_the_same_steering_is_the_same_digest_and_nothing_has_none() -> None:
    assert Steering(report="r").digest() == ""
    other = [
        Steering(edits=(PIN,)),
        Steering(edits=(NUDGE,), positions=Positions.PROMPT),
        Steering(edits=(NUDGE,), dose_max=0.5),
        Steering(reads=(Read(sae="a", top_k=1),)),
    ]
    assert len({each.digest() for each in [Steering(edits=(NUDGE,)), *other]}) == 5
    assert Steering(edits=(NUDGE,), report="a").digest() == Steering(edits=(NUDGE,), report="b").digest()


def test_an_sae_of_another_width_than_its_hook_point_is_refused(world_config: EngineConfig) -> None:
    first, last = (hook.point for hook in world_config.hooks)
    HookSet(world_config, 1, 8, d_model=64, widths={first: D_MODEL, last: D_MODEL})
    with pytest.raises(IncompatibleArtifact, match=rf"reads {D_MODEL} numbers of each token, and there are 8 at its"):
        HookSet(world_config, 1, 8, D_MODEL, widths={last: 8})


def test_a_folder_without_its_sae_is_refused(world_config: EngineConfig, tmp_path: Path) -> None:
    hook = world_config.hooks[0]
    broken = hook.model_copy(update={"saes": (hook.saes[0].model_copy(update={"folder": tmp_path}),)})
    with pytest.raises(Exception, match="cannot be read"):
        HookSet(world_config.model_copy(update={"hooks": (broken,)}), 1, 8, D_MODEL)
