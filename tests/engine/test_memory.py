"""What an offline engine takes of a device, and that closing it gives everything back."""

import math
import weakref
from pathlib import Path
from typing import Any

import pytest
import torch

from featurehub.artifacts.manifest import HookPoint
from featurehub.demo.bundle import bundled_model
from featurehub.engine.config import EngineConfig
from featurehub.engine.memory import GIB, Device, MemoryShare, share_of
from featurehub.engine.offline import Engine, EngineOptions, Sampling
from featurehub.errors import EngineError
from tests.engine.world import hooked, unit_dictionary

H200 = Device(free=int(122.99 * GIB), total=int(139.8 * GIB))
D_SAE = 1 << 17
"""Latents of an SAE that takes 200 MB: two of them left behind would show."""


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """A model's folder whose weights take 6 GiB, and nothing on the disk."""
    with (tmp_path / "model.safetensors").open("wb") as file:
        file.truncate(6 * GIB)
    return tmp_path


def test_what_is_asked_of_a_gpu_is_free(weights: Path) -> None:
    """vLLM refuses to start where less than its share of the whole device is free, whoever has the rest."""
    for device in (H200, Device(80 * GIB, 80 * GIB), Device(12 * GIB, 80 * GIB), Device(7 * GIB, 8 * GIB)):
        share = share_of(weights, None, device)
        assert share.gpu_memory_utilization is not None
        assert math.ceil(device.total * share.gpu_memory_utilization) < device.free
        assert share.kv_cache_memory_bytes <= (device.free - 6 * GIB) / 2


def test_a_cache_is_as_large_as_there_is_room_for(weights: Path) -> None:
    assert share_of(weights, None, H200).kv_cache_memory_bytes == 4 * GIB
    assert share_of(weights, None, Device(8 * GIB, 80 * GIB)).kv_cache_memory_bytes == GIB
    assert share_of(weights, 16, H200).kv_cache_memory_bytes == 16 * GIB


def test_a_cpu_is_not_asked(weights: Path) -> None:
    assert share_of(weights, None, None) == MemoryShare(GIB)
    assert share_of(weights, 2, None).as_options() == {"kv_cache_memory_bytes": 2 * GIB}


@pytest.mark.parametrize(("gib", "free"), [(None, 6), (None, 5), (4, 9)])
def test_a_gpu_without_room_is_refused_by_name(gib: int | None, free: int, weights: Path) -> None:
    with pytest.raises(EngineError, match=rf"{free}\.0 of 80\.0 GiB free.*take 6\.0.*nvidia-smi"):
        share_of(weights, gib, Device(free * GIB, 80 * GIB))


def test_what_training_has_left_in_the_allocator_counts_as_free(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = [5 * GIB]
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "empty_cache", kept.clear)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda: (20 * GIB - sum(kept), 80 * GIB))
    assert Device.here() == Device(20 * GIB, 80 * GIB)


def resident_mib() -> int:
    """Of this process."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) // 1024


def used(engine: Engine) -> list["weakref.ref[Any]"]:
    """After the engine has answered and read, and every page of its KV cache was written: vLLM's engine, and what it
    consists of.
    """
    core = engine.llm.llm_engine
    runner = core.engine_core.engine_core.model_executor.driver_worker.worker.model_runner
    for cache in runner.kv_caches:
        cache.fill_(1)
    engine.capture([[5, 6, 7]])
    list(engine.generate([[5, 6, 7]], [None], Sampling(temperature=0.0, max_tokens=4)))
    return [weakref.ref(each) for each in (core, runner, runner.get_model(), runner.kv_caches[0])]


@pytest.fixture
def config(tmp_path: Path) -> EngineConfig:
    """Of an engine with a large SAE."""
    return hooked(tmp_path, {HookPoint(layer=3): {"large": unit_dictionary(0, 192, D_SAE, 0.5)}})


@pytest.mark.engine
def test_engines_in_turn_leave_no_memory_behind(config: EngineConfig) -> None:
    """Whoever still holds the closed ones. Each takes a GiB for its KV cache, and 200 MB for its SAE."""
    kept, left = [], []
    for _ in range(3):
        before = resident_mib()
        kept.append(engine := Engine(bundled_model(), config, EngineOptions(max_num_seqs=8)))
        held = used(engine)
        assert resident_mib() > before + 900
        engine.close()
        engine.close()
        assert [each() for each in held] == [None] * 4
        left.append(resident_mib())
    assert left[2] < left[0] + 150, left
    with pytest.raises(EngineError, match="closed"):
        kept[0].capture([[5]])


@pytest.mark.engine
@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("enforce_eager", [True, False], ids=["eager", "compiled"])
def test_engines_in_turn_leave_no_gpu_memory_behind(config: EngineConfig, enforce_eager: bool) -> None:
    kept, taken = [], []
    for _ in range(3):
        kept.append(engine := Engine(bundled_model(), config, EngineOptions(enforce_eager=enforce_eager)))
        held = used(engine)
        engine.close()
        assert [each() for each in held] == [None] * 4
        free, total = torch.cuda.mem_get_info()
        taken.append((total - free) / GIB)
        assert torch.cuda.memory_allocated() < 256 << 20
    assert taken[2] < taken[0] + 0.2, taken
