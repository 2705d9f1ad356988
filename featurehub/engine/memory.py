"""How much memory an offline engine takes of a device that it shares: with what is trained beside it, and with others.

vLLM asks at start-up that a share of the whole device is free, by default nearly all of it, even where the size of the
KV cache is given. Here both follow from what is free.
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
"""Bytes of a KV cache where nobody asks for a size; on a GPU, at most."""
LEAST_CACHE = 64 * MIB
ASKED_OF_FREE = 0.8
"""Of what is free, the share that vLLM is told to count on: its own libraries take some before it looks."""


class Device(NamedTuple):
    """Bytes of a GPU: free, whoever holds the rest, and all."""

    free: int
    total: int

    @classmethod
    def here(cls) -> "Device | None":
        """None on a CPU. What this process has trained with before, and keeps for later, counts as free."""
        if not torch.cuda.is_available():
            return None
        torch.cuda.empty_cache()
        return cls(*torch.cuda.mem_get_info())


class MemoryShare(NamedTuple):
    """What an engine is given, in vLLM's words.

    kv_cache_memory_bytes:  size of the KV cache
    gpu_memory_utilization: share of the whole device that must be free at start-up; None on a CPU: vLLM's own
    """

    kv_cache_memory_bytes: int
    gpu_memory_utilization: float | None = None

    def as_options(self) -> dict[str, float]:
        return {name: value for name, value in self._asdict().items() if value is not None}


def share_of(model: Path, gib: int | None, device: Device | None) -> MemoryShare:
    """Of ``device`` for ``model``. On a GPU the cache takes at most half of what the weights leave.

    Args:
        model: folder with the weights
        gib: size of the KV cache in GiB; None is as much as there is room for, up to 4 on a GPU, and 1 on a CPU
        device: the GPU, before anything is loaded; None on a CPU

    Raises:
        EngineError: the device has no room for the weights and the cache.
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
