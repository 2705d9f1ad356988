"""What a figure holds for: the device, and the versions of what runs on it."""

import os
from pathlib import Path

__all__ = ["has_gpu", "machine"]


def has_gpu() -> bool:
    import torch

    return torch.cuda.is_available()


def machine() -> str:
    import torch
    import vllm

    device = torch.cuda.get_device_name() if has_gpu() else f"{len(os.sched_getaffinity(0))} cores of {processor()}"
    return f"{device}; vLLM {vllm.__version__}, torch {torch.__version__}"


def processor() -> str:
    """As the system names it; its architecture where it has no name."""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return os.uname().machine
