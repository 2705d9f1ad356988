"""Contenders (``contenders.py``), each in a process of its own, that take turns answering batches.

The machine's moods hit all of them, and each batch is compared with the baseline's of the same round: what counts is
the median of these ratios. A control that equals the baseline shows how far two equal processes lie apart.
"""

import os
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

import numpy as np
from contenders import GPU_SHARE, PLUGINS
from costs import Middle
from rich.console import Console
from rich.progress import track
from shapes import TOKENS, Asked

from featurehub.errors import EngineUnavailable

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

    def asked(self, batch: int, tokens: int = TOKENS) -> Asked:
        return Asked(batch, self.edits, self.distinct, self.top_k, tokens)


class Worker:
    """A contender's process."""

    def __init__(self, name: str, model: str, folder: Path, compiled: bool, share: float) -> None:
        environment = {**os.environ, "VLLM_PLUGINS": PLUGINS.get(name, ""), GPU_SHARE: f"{share:.3f}"}
        program = [sys.executable, str(Path(__file__).with_name("contenders.py")), name, model, str(folder)]
        pipe, self.log = subprocess.PIPE, folder / f"{name}.log"
        program += ["compiled"] * compiled
        with self.log.open("w") as log:
            self.process = subprocess.Popen(program, stdin=pipe, stdout=pipe, stderr=log, text=True, env=environment)

    def ask(self, asked: Asked) -> float:
        """Tokens per second. Raises EngineUnavailable with what the process said last where it has ended."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        with suppress(BrokenPipeError):
            print(*map(int, asked), file=self.process.stdin, flush=True)
            for line in self.process.stdout:
                if line.startswith("RATE "):
                    return float(line.split()[1])
        raise EngineUnavailable(f"{self.log.stem} ended; the end of its log:\n{self.log.read_text()[-3000:]}")

    def end(self) -> None:
        """Its input ends, and so does the process; where it hangs, it is killed."""
        with suppress(subprocess.TimeoutExpired):
            self.process.communicate("", timeout=20)
        self.process.kill()
        self.process.communicate()


@contextmanager
def started(arms: Iterable[Arm], model: str, folder: Path, compiled: bool = False) -> Iterator[dict[str, Worker]]:
    """The contenders by name, one process each, which end with the block. No two load at a time."""
    names, workers = dict.fromkeys(arm.contender for arm in arms), dict[str, Worker]()
    try:
        for name in names:
            workers[name] = Worker(name, model, folder, compiled, ALL_SHARES / len(names))
            with console.status(f"{name} starts"):
                workers[name].ask(Asked(1))
        yield workers
    finally:
        for worker in workers.values():
            worker.end()


def measure(workers: dict[str, Worker], arms: tuple[Arm, ...], batch: int, rounds: int) -> dict[Arm, list[float]]:
    """The first round warms up, and is not counted."""
    rates: dict[Arm, list[float]] = {arm: [] for arm in arms}
    for turn in track(range(rounds + 1), f"batch {batch}", console=console, transient=True):
        for arm in arms:
            rate = workers[arm.contender].ask(arm.asked(batch))
            if turn:
                rates[arm].append(rate)
    return rates


def show(batch: int, baseline: Arm, rates: dict[Arm, list[float]]) -> None:
    base = np.array(rates[baseline])
    console.print(f"batch {batch}, of {baseline}: {np.median(base):.0f} tokens/s", highlight=False)
    for arm, measured in rates.items():
        console.print(f"    {arm!s:48} {Middle.of(np.array(measured) / base)}", highlight=False)
