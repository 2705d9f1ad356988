"""The CUDA kernels against the naive reference: interpreted (on a GPU: run), and compiled for sm_90."""

import os
from pathlib import Path

import pytest
import torch
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from featurehub.edits import LatentEdit, Read, Steering
from featurehub.engine.config import EngineConfig
from featurehub.features import Mode
from tests.engine.world import (
    DICTIONARIES,
    POINTS,
    STEERINGS,
    Chunk,
    World,
    check_report,
    schedules,
    stream,
    token_id,
)  # fmt: skip

pytest.importorskip("triton")

# The interpreter cuts bfloat16 off where hardware rounds it.
DTYPES = (torch.float32, torch.float16)


@settings(max_examples=25, phases=[Phase.generate])
@given(data=st.data(), dtype=st.sampled_from(DTYPES))
def test_every_mix_under_every_schedule_is_the_naive_equation(
    world_config: EngineConfig, data: st.DataObject, dtype: torch.dtype
) -> None:
    steerings = data.draw(st.lists(STEERINGS, min_size=1, max_size=3))
    world = World(world_config, steerings, data.draw(st.integers(0, 8)), dtype, graphs=True)
    for event in data.draw(schedules(len(steerings))):
        world.preempt(event) if isinstance(event, int) else world.step(event)
    for request in {request for request, _, _ in world.naive}:
        check_report(world, request)


def test_what_is_read_comes_through_the_tap(world_config: EngineConfig) -> None:
    steering = Steering(reads=(Read(sae="c", top_k=3),), capture=(POINTS[0],))
    world = World(world_config, [steering], 4, torch.float32, graphs=True)
    world.step([Chunk(0, 0, 3)])
    world.step([Chunk(0, 3, 2)])
    streams = [torch.stack([torch.stack(stream(0, p, h, torch.float32)).sum(0) for p in range(5)]) for h in (0, 1)]
    torch.testing.assert_close(world.hooks.captured("r0", POINTS[0]), streams[0])
    activations = world.report(0).activations
    assert activations is not None
    strongest = DICTIONARIES[POINTS[1]]["c"].encode(streams[1]).topk(3, dim=-1)
    assert [token.token for token in activations] == [token_id(0, position) for position in range(5)]
    for token, values in zip(activations, strongest.values, strict=True):
        torch.testing.assert_close(torch.tensor(token.activations), values[values > 0])


def test_padding_and_dummy_steps_are_not_touched(world_config: EngineConfig) -> None:
    """After a step with edits, a dummy run of more tokens than it had finds nobody in the buffers."""
    nudge = LatentEdit(sae="a", latent=1, mode=Mode.NUDGE, value=5.0)
    world = World(world_config, [Steering(edits=(nudge,))], 4, torch.float32, graphs=True)
    world.step([Chunk(0, 0, 6)])
    world.hooks.begin_step(None, torch.arange(1024))
    before = world.streams([Chunk(0, 0, 9)], 0)
    after = before[0].clone(), before[1].clone()
    world.hooks.hooks[0].run(*after)
    assert torch.equal(before[0], after[0])
    assert torch.equal(before[1], after[1])


def test_the_kernels_compile_for_sm_90(tmp_path: Path) -> None:
    """In a process of its own, where Triton does not interpret."""
    import subprocess
    import sys

    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    environment["TRITON_CACHE_DIR"] = str(tmp_path)
    done = subprocess.run([sys.executable, "-c", COMPILE], env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.split() == ["decide", "lasting", "edit"]


COMPILE = """
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from featurehub.engine import kernel

FLOATS = {"W_enc", "W_dec", "bias", "threshold", "gain", "offset", "value", "sign", "alpha", "beta"}
FLOATS |= {"dose_max", "nudge", "tap", "counts", "in_force"}
NUMBERS = {"index", "d_model", "S"}
FLAGS = {"so_far", "any_of", "always"}
CONSTANTS = {"C": 16, "HAS_RESIDUAL": True, "BLOCK": 4096}


def kind(name):
    if name in CONSTANTS:
        return "constexpr"
    if name in NUMBERS:
        return "i32"
    if name in ("hidden", "residual"):
        return "*bf16"
    return "*fp32" if name in FLOATS else "*i1" if name in FLAGS else "*i64"


for name in ("decide", "lasting", "edit"):
    function = getattr(kernel, name)
    signature = {argument: kind(argument) for argument in function.arg_names}
    constants = {argument: CONSTANTS[argument] for argument in function.arg_names if argument in CONSTANTS}
    triton.compile(ASTSource(function, signature, constants), target=GPUTarget("cuda", 90, 32))
    print(name)
"""
