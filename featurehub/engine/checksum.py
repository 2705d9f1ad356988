"""A checksum of a model's weights as they lie on the device, tensor by tensor.

What vLLM has loaded is not what the files hold: projections are joined, adapters merged, weights rounded, quantised or
packed, and they may be replaced while requests run. So the tensors themselves are summed, where they are:

1. A tensor's bytes are words w_i of 32 bits, taken as signed integers; the last one is filled up with zeros.
2. In blocks of ``BLOCK`` words, s_b = Σ_i w_i · r_i mod 2^64 with fixed odd r_i. A change of one word changes the sum
   for certain; other changes escape with a probability of about 2^-32 (multilinear hashing: Lemire and Kaser,
   "Strongly universal string hashing is fast", 2014).
3. The tensor's sum is Σ_b s_b · STEP^b mod 2^64. Integers wrap around exactly, so that every device and every order of
   adding gives the same.
4. Where vLLM hands a weight to a library that keeps a copy of its own (linear layers on CPUs), nothing can be read any
   more. The sum is taken just before, and kept with the layer.

It tells what changed by mistake or on purpose, not what somebody made to collide.
"""

from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import is_traceable_wrapper_subclass

from featurehub.engine.wrapping import run_around

__all__ = ["BLOCK", "Sums", "checksum", "checksums", "keep_sums_of_packed"]

BLOCK = 1 << 16
"""Words in a block."""
TOGETHER = 64
"""Blocks that are summed at once on a GPU; the sums do not depend on it."""
STEP = 0x9E3779B97F4A7C15
PACKED = "_featurehub_packed"
"""The attribute of a layer that holds the sum of the weight which it has handed over."""


class Sums(NamedTuple):
    """The checksums of a model.

    Attributes:
        by_name: By the name of each parameter and buffer, 16 hexadecimal digits.
        whole: Whether every weight could be read.
    """

    by_name: Mapping[str, str]
    whole: bool


@torch.no_grad()
def checksums(model: nn.Module) -> Sums:
    """The checksums of all parameters and buffers of a model, where they lie.

    Args:
        model: A model that vLLM has loaded.

    Returns:
        The sums; the names are vLLM's, the same with adapters and without.
    """
    named = [(plain(name), tensor) for name, tensor in tensors_of(model)]
    lost = {plain(name): packed_sum(module) for name, module in model.named_modules() if is_handed_over(module)}
    readable = [(name, tensor) for name, tensor in named if tensor.numel() and not tensor.is_meta]
    sums = torch.stack([total(tensor).cpu() for _, tensor in readable]) if readable else torch.zeros(0)
    found = {
        name: f"{value & 0xFFFFFFFFFFFFFFFF:016x}" for (name, _), value in zip(readable, sums.tolist(), strict=True)
    }
    found |= {f"{name}.weight": value for name, value in lost.items() if value}
    return Sums(found, all(lost.values()) and not any(tensor.is_meta for _, tensor in named))


def checksum(tensor: Tensor) -> str:
    """The checksum of one tensor: 16 hexadecimal digits."""
    return f"{int(total(tensor)) & 0xFFFFFFFFFFFFFFFF:016x}"


def total(tensor: Tensor) -> Tensor:
    """Steps 1 to 3: an int64 of no dimension, on the tensor's device."""
    words = words_of(tensor)
    sums = numpy_sums(words) if words.device.type == "cpu" else device_sums(words)
    return (sums * powers(len(sums), words.device)).sum()


def device_sums(words: Tensor) -> Tensor:
    """Step 2: [blocks] int64, of which the last may be of fewer words or none."""
    odd, blocks = multipliers(words.device), len(words) // BLOCK
    whole, rest = words[: blocks * BLOCK].view(blocks, BLOCK), words[blocks * BLOCK :]
    sums = [(part.long() * odd).sum(-1) for part in whole.split(TOGETHER)] if blocks else []
    return torch.cat([*sums, (rest.long() * odd[: len(rest)]).sum()[None]])


def numpy_sums(words: Tensor) -> Tensor:
    """The same on a CPU, where a thread of its own for each piece of a block would cost more than the sum."""
    odd, array = multipliers(words.device).numpy(), words.numpy()
    parts = (array[at : at + BLOCK].astype(np.int64) for at in range(0, len(array) // BLOCK * BLOCK + 1, BLOCK))
    return torch.tensor([int(np.dot(part, odd[: len(part)])) for part in parts])


def words_of(tensor: Tensor) -> Tensor:
    """Step 1: [words] int32."""
    raw = tensor.detach().contiguous().reshape(-1).view(torch.uint8)
    if len(raw) % 4:
        raw = torch.cat([raw, raw.new_zeros(-len(raw) % 4)])
    return (raw if raw.storage_offset() % 4 == 0 else raw.clone()).view(torch.int32)


@cache
def multipliers(device: torch.device) -> Tensor:
    """The r_i: [BLOCK] int64, the outputs of splitmix64 from 1 on, made odd."""
    with np.errstate(over="ignore"):
        z = np.arange(1, BLOCK + 1, dtype=np.uint64) * np.uint64(STEP)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return torch.from_numpy((z ^ (z >> np.uint64(31)) | np.uint64(1)).view(np.int64)).to(device)


def powers(count: int, device: torch.device) -> Tensor:
    """[count] int64: STEP^0, STEP^1, …, mod 2^64."""
    with np.errstate(over="ignore"):
        found = np.cumprod(np.append(np.uint64(1), np.full(count - 1, STEP, np.uint64)), dtype=np.uint64)
    return torch.from_numpy(found.view(np.int64)).to(device)


def tensors_of(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    for name, tensor in (*model.named_parameters(), *model.named_buffers()):
        yield from parts(name, tensor)


def parts(name: str, tensor: Tensor) -> Iterator[tuple[str, Tensor]]:
    """The tensors that hold the bytes: quantised weights may wrap several."""
    if is_traceable_wrapper_subclass(tensor):
        for inner in tensor.__tensor_flatten__()[0]:
            yield from parts(f"{name}.{inner}", getattr(tensor, inner))
    else:
        yield name, tensor


def plain(name: str) -> str:
    """The name without what vLLM puts into it where adapters are enabled."""
    return name.replace(".base_layer", "")


def is_handed_over(module: nn.Module) -> bool:
    """Whether the module's weight is somewhere else."""
    weight = module._parameters.get("weight")
    return weight is not None and weight.numel() == 0


def packed_sum(module: nn.Module) -> str:
    """The sum of what it handed over; "" where that is not known."""
    return getattr(module, PACKED, "")


def keep_sums_of_packed() -> None:
    """Step 4: wraps the function by which vLLM hands over the weights of linear layers on CPUs. Safe to call again.

    Raises:
        UnsupportedModel: This vLLM has another one.
    """
    from vllm.model_executor.layers import utils

    def pack(original: Any, layer: nn.Module, *args: Any, **kwargs: Any) -> None:
        weight = layer.weight
        if isinstance(weight, Tensor) and not weight.is_meta and weight.numel():
            setattr(layer, PACKED, checksum(weight))
        original(layer, *args, **kwargs)

    run_around(utils, "dispatch_cpu_unquantized_gemm", lambda parameters: parameters[0] == "layer", pack)
