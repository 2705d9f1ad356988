"""What a checkpoint's fingerprint costs: against reading and hashing the file from end to end, and when it is known.

Random safetensors of about the given size. In each round, in turn: one sha256 over the file in one thread; the hashes
of all tensors with nothing remembered; the same once more. Prints medians and their ratios to the first.

    python tests/benchmarks/fingerprint.py [--megabytes 300] [--rounds 5]
"""

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from safetensors.torch import save_file

from featurehub.artifacts.files import sha256
from featurehub.artifacts.remembered import SETTLED_NS, folder
from featurehub.artifacts.tensors import tensor_hashes

WIDTH, VOCABULARY = 2048, 8
console = Console(highlight=False)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=int, default=300)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        os.environ["FEATUREHUB_HOME"] = f"{place}/home"
        path = write(Path(place), arguments.megabytes)
        console.print(f"{path.stat().st_size / 1e6:.0f} MB, {os.cpu_count()} cores")
        time.sleep(SETTLED_NS / 1e9)
        show([measure(path) for _ in range(arguments.rounds)], path.stat().st_size)


def write(place: Path, megabytes: int) -> Path:
    """Layers of equal matrices, and an embedding as large as ``VOCABULARY`` of them, as models have."""
    generator, count = torch.Generator().manual_seed(0), max(1, megabytes * 10**6 // (2 * WIDTH**2) - VOCABULARY)
    shapes = {f"layers.{i}.weight": WIDTH for i in range(count)} | {"embed.weight": VOCABULARY * WIDTH}
    weights = {name: torch.randn(rows, WIDTH, generator=generator).bfloat16() for name, rows in shapes.items()}
    save_file(weights, place / "model.safetensors")
    return place / "model.safetensors"


def measure(path: Path) -> list[float]:
    for entry in folder().glob("*"):
        entry.unlink()
    steps: list[Callable[[], object]] = [lambda: sha256(path), *[lambda: tensor_hashes(path.parent)] * 2]
    return [seconds(step) for step in steps]


def seconds(step: Callable[[], object]) -> float:
    started = time.perf_counter()
    step()
    return time.perf_counter() - started


def show(rounds: list[list[float]], size: int) -> None:
    whole, *_ = medians = np.median(np.array(rounds), axis=0)
    for name, median in zip(("sha256 of the file", "fingerprint, cold", "fingerprint, known"), medians, strict=True):
        console.print(f"{name:20} {median * 1e3:8.2f} ms  {size / median / 1e9:8.2f} GB/s  {whole / median:8.2f} x")


if __name__ == "__main__":
    main()
