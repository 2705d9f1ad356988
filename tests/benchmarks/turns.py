"""Contenders (``contenders.py``), each in a process of its own, that take turns answering batches.

The machine's moods hit all of them, and each batch is compared with the baseline's of the same round: what counts is
the median of these ratios. A control that equals the baseline shows how far two equal processes lie apart.
"""

import math
import os
import signal
import subprocess
import sys
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Timer
from typing import NamedTuple

import numpy as np
from contenders import PLUGINS
from costs import Middle
from rich.console import Console
from rich.progress import track
from shapes import TOKENS, Asked
from vllm_alone import GPU_SHARE

from featurehub.errors import EngineUnavailable

console = Console(width=120)
ALL_SHARES = 0.85
"""Of a GPU, for all contenders together: each holds its own until the end."""
PATIENCE = 900.0
"""Seconds that a peer has to start, or to answer a batch."""


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


class Answer(NamedTuple):
    """rate: tokens per second;  digest: of the tokens, the same for the same ones"""

    rate: float
    digest: str


class Worker:
    """A contender's process. peer: whether the others go on without it;  failure: why it ended, in one line"""

    peer, failure = False, ""

    def __init__(self, name: str, model: str, folder: Path, compiled: bool, share: float, peer: bool = False) -> None:
        environment = {**os.environ, "VLLM_PLUGINS": PLUGINS.get(name, ""), GPU_SHARE: f"{share:.3f}"}
        program = [sys.executable, str(Path(__file__).with_name("contenders.py")), name, model, str(folder)]
        pipe, self.log, self.peer = subprocess.PIPE, folder / f"{name}.log", peer
        program += ["compiled"] * compiled
        with self.log.open("w") as log:
            self.process = subprocess.Popen(program, stdin=pipe, stdout=pipe, stderr=log, text=True, env=environment)

    def ask(self, asked: Asked) -> float:
        """Tokens per second."""
        return self.answer(asked).rate

    def answer(self, asked: Asked) -> Answer:
        """A peer that has ended answers with no digest, at a rate of nan; anyone else raises EngineUnavailable."""
        said = "" if self.failure else self.reply(asked)
        if said.startswith("RATE "):
            rate, digest = said.split()[1:]
            return Answer(float(rate), digest)
        self.failure = self.failure or said.removeprefix("ERROR ").strip() or self.fate()
        if self.peer:
            return Answer(math.nan, "")
        end = self.log.read_text()[-3000:]
        raise EngineUnavailable(f"{self.log.stem} ended: {self.failure}; the end of its log:\n{end}")

    def reply(self, asked: Asked) -> str:
        """The line that answers; empty where the process ends without one."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        with suppress(BrokenPipeError), self.patience():
            print(*map(int, asked), file=self.process.stdin, flush=True)
            for line in self.process.stdout:
                if line.startswith(("RATE ", "ERROR ")):
                    return line
        return ""

    @contextmanager
    def patience(self) -> Iterator[None]:
        """A peer that hangs is killed."""
        timer = Timer(PATIENCE, self.give_up)
        if self.peer:
            timer.start()
        try:
            yield
        finally:
            timer.cancel()

    def give_up(self) -> None:
        self.failure = f"no answer within {PATIENCE:g} s"
        self.process.kill()

    def fate(self) -> str:
        code = self.process.wait()
        return f"ended by {signal.Signals(-code).name}" if code < 0 else f"ended with status {code}, and said no error"

    def end(self) -> None:
        """Its input ends, and so does the process; where it hangs, it is killed."""
        with suppress(subprocess.TimeoutExpired):
            self.process.communicate("", timeout=20)
        self.process.kill()
        self.process.communicate()


@contextmanager
def started(
    arms: Iterable[Arm], model: str, folder: Path, compiled: bool = False, peers: Collection[str] = ()
) -> Iterator[dict[str, Worker]]:
    """The contenders by name, one process each, which end with the block. No two load at a time.

    peers: the names of those that may fail
    """
    names, workers = dict.fromkeys(arm.contender for arm in arms), dict[str, Worker]()
    try:
        for name in names:
            workers[name] = Worker(name, model, folder, compiled, ALL_SHARES / len(names), name in peers)
            with console.status(f"{name} starts"):
                workers[name].ask(Asked(1))
        yield workers
    finally:
        for worker in workers.values():
            worker.end()


def without_effect(worker: Worker, edits: int) -> str:
    """What is to be said against a contender's edits; empty where its greedy answers change with them, and only so."""
    plain, edited, again = (worker.answer(Asked(2, each, greedy=True)).digest for each in (0, edits, 0))
    if worker.failure:
        return ""
    if plain != again:
        return "its answers without edits are not the same after those with them"
    return "does not steer here" if edited == plain else ""


def measure(workers: dict[str, Worker], arms: tuple[Arm, ...], batch: int, rounds: int) -> dict[Arm, list[float]]:
    """The first round warms up, and is not counted."""
    rates: dict[Arm, list[float]] = {arm: [] for arm in arms}
    for turn in track(range(rounds + 1), f"batch {batch}", console=console, transient=True):
        for arm in arms:
            rate = workers[arm.contender].ask(arm.asked(batch))
            if turn:
                rates[arm].append(rate)
    return rates


def show(batch: int, baseline: Arm, rates: dict[Arm, list[float]], remarks: Mapping[Arm, str] | None = None) -> None:
    """remarks: what is to be said of an arm, whether or not it was measured"""
    base, remarks = np.array(rates[baseline]), remarks or {}
    console.print(f"batch {batch}, of {baseline}: {np.median(base):.0f} tokens/s", highlight=False)
    for arm in dict.fromkeys((*rates, *remarks)):
        ratio = [str(Middle.of(np.array(rates[arm]) / base))] if arm in rates else []
        said = " ".join((*ratio, remarks.get(arm, "")))
        console.print(f"    {arm!s:48} {said}".rstrip(), highlight=False, soft_wrap=True)
