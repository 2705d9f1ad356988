"""Contenders (``contenders.py``), each in a process of its own, that take turns answering batches.

The machine's moods hit all of them, and each batch is compared with the baseline's of the same round: what counts is
the median of these ratios. A control that equals the baseline shows how far two equal processes lie apart.
"""

import os
import subprocess
import sys
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import numpy as np
from contenders import GPU_SHARE, PLUGINS
from rich.console import Console
from rich.progress import track
from shapes import Asked

console = Console(width=120)
ALL_SHARES = 0.85
"""Of a GPU, for all contenders together: each holds its own until the end."""


class Arm(NamedTuple):
    """A contender, and what every request asks of it."""

    contender: str
    edits: int = 0
    distinct: bool = False
    top_k: int = 0

    def __str__(self) -> str:
        edits = f"{self.edits} edit{'s' * (self.edits > 1)}{', each its own' * self.distinct}" if self.edits else ""
        return f"{self.contender:16} {edits or (f'top-{self.top_k} read' if self.top_k else '')}"


class Worker:
    """A contender's process. Its first batch is answered when this returns, so that no two load at a time."""

    def __init__(self, name: str, model: str, folder: Path, compiled: bool, share: float) -> None:
        environment = {**os.environ, "VLLM_PLUGINS": PLUGINS.get(name, ""), GPU_SHARE: f"{share:.3f}"}
        program = [sys.executable, str(Path(__file__).with_name("contenders.py")), name, model, str(folder)]
        pipe, self.log = subprocess.PIPE, folder / f"{name}.log"
        self.process = subprocess.Popen(
            program + ["compiled"] * compiled,
            stdin=pipe,
            stdout=pipe,
            stderr=self.log.open("w"),
            text=True,
            env=environment,
        )
        with console.status(f"{name} starts"):
            self.ask(Asked(1))

    def ask(self, asked: Asked) -> float:
        """Tokens per second. Ends the benchmark with what the process said where it has ended."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        with suppress(BrokenPipeError):
            print(*map(int, asked), file=self.process.stdin, flush=True)
            for line in self.process.stdout:
                if line.startswith("RATE "):
                    return float(line.split()[1])
        raise SystemExit(f"{self.log.stem} ended:\n{self.log.read_text()[-3000:]}")


def start_all(arms: Iterable[Arm], model: str, folder: Path, compiled: bool = False) -> dict[str, Worker]:
    names = dict.fromkeys(arm.contender for arm in arms)
    return {name: Worker(name, model, folder, compiled, ALL_SHARES / len(names)) for name in names}


def end_all(workers: dict[str, Worker]) -> None:
    for worker in workers.values():
        worker.process.communicate("")


def measure(workers: dict[str, Worker], arms: tuple[Arm, ...], batch: int, rounds: int) -> dict[Arm, list[float]]:
    """The first round warms up, and is not counted."""
    rates: dict[Arm, list[float]] = {arm: [] for arm in arms}
    for turn in track(range(rounds + 1), f"batch {batch}", console=console, transient=True):
        for arm in arms:
            rate = workers[arm.contender].ask(Asked(batch, *arm[1:]))
            if turn:
                rates[arm].append(rate)
    return rates


def show(batch: int, baseline: Arm, rates: dict[Arm, list[float]]) -> None:
    base = np.array(rates[baseline])
    console.print(f"batch {batch}, of {baseline}: {np.median(base):.0f} tokens/s", highlight=False)
    for arm, measured in rates.items():
        low, middle, high = np.quantile(np.array(measured) / base, [0.25, 0.5, 0.75])
        console.print(f"    {arm!s:48} {middle:.3f}   ({low:.3f} to {high:.3f})", highlight=False)
