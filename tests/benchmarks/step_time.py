"""Where a step's time goes: each part's share of the time of whole batches, with edits, with reading, and idle.

Clocks lie around the methods of vLLM's CPU runner, its scheduler, and the few of ours that run for a request, a step or
a hook point. Parts lie inside one another, as the indentation shows.

    python tests/benchmarks/step_time.py [--model demo|wide] [--rounds 3]
"""

import argparse
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from contenders import featurehub, quiet
from rich.console import Console
from rich.table import Table
from shapes import SHAPES, Asked, Contender

ARMS = {"idle": {}, "1 edit": {"edits": 1}, "8 edits": {"edits": 8}, "top-8 read": {"top_k": 8}}
BATCHES = (1, 8, 64)
console = Console(width=140)
spent: Counter[str] = Counter()
calls: Counter[str] = Counter()


def clock(owner: Any, name: str, label: str) -> None:
    """Counts the time of every call of ``owner.name`` under ``label``."""
    method = getattr(owner, name)

    def timed(*args: Any, **kwargs: Any) -> Any:
        started = time.perf_counter()
        try:
            return method(*args, **kwargs)
        finally:
            spent[label] += time.perf_counter() - started
            calls[label] += 1

    setattr(owner, name, timed)


def clocks() -> list[str]:
    """In the order of the table."""
    from vllm.v1.core.sched.scheduler import Scheduler
    from vllm.v1.worker.cpu_model_runner import CPUModelRunner

    from featurehub.engine import admission
    from featurehub.engine.hook import CpuHook
    from featurehub.engine.hookset import HookSet
    from featurehub.engine.runner_v1 import Adapter

    parts = [
        (admission, "admit", "admission, for each request"),
        (Scheduler, "schedule", "vLLM's scheduler"),
        (CPUModelRunner, "execute_model", "the runner's step"),
        (Adapter, "begin_step", "  laying out the step"),
        (HookSet, "admit", "    filling a row, for each request"),
        (HookSet, "release", "    freeing a row, for each request"),
        (CPUModelRunner, "_model_forward", "  the forward pass"),
        (CpuHook, "run", "    the hook"),
        (CPUModelRunner, "sample_tokens", "sampling"),
        (Scheduler, "update_from_output", "vLLM's scheduler, after"),
    ]
    for owner, name, label in parts:
        clock(owner, name, label)
    return [label for _, _, label in parts]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=SHAPES, default="demo")
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        SHAPES[arguments.model].save(Path(folder))
        with quiet():
            contender = featurehub(SHAPES[arguments.model], Path(folder), compiled=False)
        labels = clocks()
        for name, fields in ARMS.items():
            console.print(profile(name, fields, contender, labels, arguments.rounds))


def profile(name: str, fields: dict[str, int], contender: Contender, labels: list[str], rounds: int) -> Table:
    table = Table("part", *(f"batch {batch}: share, µs per call" for batch in BATCHES), title=name)
    columns = [shares(contender, Asked(batch, **fields), labels, rounds) for batch in BATCHES]
    for label, *cells in zip(labels, *columns, strict=True):
        table.add_row(label, *cells)
    return table


def shares(contender: Contender, asked: Asked, labels: list[str], rounds: int) -> list[str]:
    """After a batch to warm up."""
    contender(asked)
    spent.clear()
    calls.clear()
    started = time.perf_counter()
    for _ in range(rounds):
        contender(asked)
    whole = time.perf_counter() - started
    return [f"{spent[each] / whole:7.2%} {1e6 * spent[each] / max(1, calls[each]):10.0f}" for each in labels]


if __name__ == "__main__":
    main()
