"""Contenders (``contenders.py``), each in a process of its own, that take turns answering batches.

The machine's moods hit all of them, and each batch is compared with the baseline's of the same round: what counts is
the median of these ratios. A control that equals the baseline shows how far two equal processes lie apart.
"""

import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from contenders import PLUGINS, Asked
from rich.console import Console
from rich.progress import track

console = Console(width=120)
Workers = dict[str, "subprocess.Popen[str]"]


class Arm(NamedTuple):
    """A contender, and what every request asks of it."""

    contender: str
    edits: int = 0
    distinct: bool = False
    top_k: int = 0

    def __str__(self) -> str:
        edits = f"{self.edits} edit{'s' * (self.edits > 1)}{', each its own' * self.distinct}" if self.edits else ""
        return f"{self.contender:16} {edits or (f'top-{self.top_k} read' if self.top_k else '')}"


def start_all(arms: Iterable[Arm], model: str, folder: Path, compiled: bool = False) -> Workers:
    return {arm.contender: start(arm.contender, model, folder, compiled) for arm in arms}


def start(name: str, model: str, folder: Path, compiled: bool) -> "subprocess.Popen[str]":
    """Waits until its first batch is answered, so that no two load at a time."""
    environment = {**os.environ, "VLLM_PLUGINS": PLUGINS.get(name, "")}
    program = [sys.executable, str(Path(__file__).with_name("contenders.py")), name, model, str(folder)]
    pipe, errors = subprocess.PIPE, (folder / f"{name}.log").open("w")
    process = subprocess.Popen(
        program + ["compiled"] * compiled, stdin=pipe, stdout=pipe, stderr=errors, text=True, env=environment
    )
    with console.status(f"{name} starts"):
        try:
            ask(process, Asked(1))
        except EOFError:
            raise SystemExit(f"{name} ended:\n{(folder / f'{name}.log').read_text()[-3000:]}") from None
    return process


def end_all(workers: Workers) -> None:
    for process in workers.values():
        process.communicate("")


def ask(process: "subprocess.Popen[str]", asked: Asked) -> float:
    assert process.stdin is not None
    assert process.stdout is not None
    print(*map(int, asked), file=process.stdin, flush=True)
    for line in process.stdout:
        if line.startswith("RATE "):
            return float(line.split()[1])
    raise EOFError


def measure(workers: Workers, arms: tuple[Arm, ...], batch: int, rounds: int) -> dict[Arm, list[float]]:
    """The first round warms up, and is not counted."""
    rates: dict[Arm, list[float]] = {arm: [] for arm in arms}
    for turn in track(range(rounds + 1), f"batch {batch}", console=console, transient=True):
        for arm in arms:
            rate = ask(workers[arm.contender], Asked(batch, *arm[1:]))
            if turn:
                rates[arm].append(rate)
    return rates


def show(batch: int, baseline: Arm, rates: dict[Arm, list[float]]) -> None:
    base = np.array(rates[baseline])
    console.print(f"batch {batch}, of {baseline}: {np.median(base):.0f} tokens/s", highlight=False)
    for arm, measured in rates.items():
        low, middle, high = np.quantile(np.array(measured) / base, [0.25, 0.5, 0.75])
        console.print(f"    {arm!s:48} {middle:.3f}   ({low:.3f} to {high:.3f})", highlight=False)
