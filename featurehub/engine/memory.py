"""How much memory an offline engine takes of a device that it shares with training and with other processes.

vLLM requires at start-up that a share of the whole device is free, by default nearly all of it, even if the size of
the KV cache is given. Here both follow from what is free.
"""

from pathlib import Path
from typing import NamedTuple

import torch

from featurehub.errors import EngineError

__all__ = ["Device", "MemoryShare", "share_of"]

MIB = 1 << 20
GIB = 1 << 30
CPU_CACHE = GIB
GPU_CACHE = 4 * GIB
"""Bytes of a KV cache if no size is given; on a GPU, the most."""
LEAST_CACHE = 64 * MIB
ASKED_OF_FREE = 0.8
"""The share of the free memory that vLLM is told to require: its own libraries take some before it looks."""


class Device(NamedTuple):
    """Memory of a GPU.

    Attributes:
        free: Bytes that no process holds.
        total: Bytes of the whole device.
    """

    free: int
    total: int

    @classmethod
    def here(cls) -> "Device | None":
        """The current GPU, after torch's cached memory is released; None on a CPU."""
        if not torch.cuda.is_available():
            return None
        torch.cuda.empty_cache()
        return cls(*torch.cuda.mem_get_info())


class MemoryShare(NamedTuple):
    """The memory that an engine is given, as vLLM's options.

    Attributes:
        kv_cache_memory_bytes: Size of the KV cache in bytes.
        gpu_memory_utilization: Share of the whole device that must be free at start-up, 0 to 1; None on a CPU, which
            leaves it to vLLM.
    """

    kv_cache_memory_bytes: int
    gpu_memory_utilization: float | None = None

    def as_options(self) -> dict[str, float]:
        """The options that are set, by their names in vLLM."""
        return {name: value for name, value in self._asdict().items() if value is not None}


def share_of(model: Path, gib: int | None, device: Device | None) -> MemoryShare:
    """The memory that an engine takes of a device.

    Args:
        model: Folder of the model's checkpoint.
        gib: Size of the KV cache in GiB. None is 1 on a CPU; on a GPU it is half of what the weights leave free, but
            at most 4.
        device: The GPU before anything is loaded; None on a CPU.

    Raises:
        EngineError: The device has no room for the weights and the cache.
    """
    if device is None:
        return MemoryShare(CPU_CACHE if gib is None else gib * GIB)
    weights = weight_bytes(model)
    room = device.free - weights
    cache = min(GPU_CACHE, room // 2) if gib is None else gib * GIB
    if cache < LEAST_CACHE or cache > room:
        raise EngineError(
            f"the GPU has {device.free / GIB:.1f} of {device.total / GIB:.1f} GiB free, the weights in {model} take "
            f"{weights / GIB:.1f}, and the KV cache {max(cache, LEAST_CACHE) / GIB:.2f}. End what else runs on the "
            "GPU (`nvidia-smi` lists it), or take another with CUDA_VISIBLE_DEVICES"
        )
    return MemoryShare(cache, ASKED_OF_FREE * device.free / device.total)


def weight_bytes(model: Path) -> int:
    return sum(path.stat().st_size for path in model.glob("*.safetensors"))
