"""What the checksum of weights on the device costs, beside sha256 of the same bytes copied to the host.

Tensors of the shapes of a small chat model (SmolLM2-135M) or of an 8B one, bf16, on the GPU if there is one. Prints the
median of some rounds, and what it means for 8 billion weights.

    python tests/benchmarks/checksum.py [--rounds 5] [--large]
"""

import argparse
import hashlib
import time
from collections.abc import Callable

import numpy as np
import torch
from rich.console import Console
from torch import Tensor, nn

from featurehub.engine.checksum import checksums

SMALL = {"layers": 30, "width": 576, "inner": 1536, "vocabulary": 49_152}
LARGE = {"layers": 32, "width": 4096, "inner": 14_336, "vocabulary": 128_256}
console = Console(highlight=False)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--large", action="store_true")
    arguments = parser.parse_args()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = model_of(**(LARGE if arguments.large else SMALL), device=device)
    size = sum(each.numel() * each.element_size() for each in model.parameters())
    console.print(f"{size / 1e6:,.0f} MB on {device}")
    steps: dict[str, Callable[[], object]] = {
        "checksums": lambda: checksums(model), "sha256": lambda: [sha256(each) for each in model.parameters()],
    }  # fmt: skip
    for name, step in steps.items():
        median = float(np.median([seconds(step) for _ in range(arguments.rounds)]))
        rate = size / median / 1e9
        console.print(f"{name:10} {median * 1e3:10,.1f} ms {rate:8.2f} GB/s; 8B in bf16: {16 / rate:.2f} s")


def model_of(layers: int, width: int, inner: int, vocabulary: int, device: str) -> nn.Module:
    """A model's matrices, as vLLM joins them."""
    shapes = {"qkv": (2 * width, width), "o": (width, width), "up": (2 * inner, width), "down": (width, inner)}
    model = nn.ModuleDict({"embed": matrix(vocabulary, width, device)})
    for layer in range(layers):
        model[f"layer {layer}"] = nn.ModuleDict({name: matrix(*shape, device) for name, shape in shapes.items()})
    return model


def matrix(rows: int, columns: int, device: str) -> nn.Module:
    held = nn.Module()
    held.weight = nn.Parameter(torch.randn(rows, columns, device=device, dtype=torch.bfloat16), requires_grad=False)
    return held


def sha256(tensor: Tensor) -> str:
    return hashlib.sha256(tensor.detach().cpu().view(-1).view(torch.uint8).numpy().tobytes()).hexdigest()


def seconds(step: Callable[[], object]) -> float:
    started = time.perf_counter()
    step()
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
