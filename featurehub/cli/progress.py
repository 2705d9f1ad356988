"""What the commands print, and bars on long work. Where the output is no terminal, a phase is a line.

Strings are printed as they are, since paths, labels and messages may hold what rich takes for markup; colors are
``Text``.
"""

import os
import shlex
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

__all__ = ["Bar", "ConsoleProgress", "console", "output", "phase", "suggest", "work"]

WIDE = 200
console = Console(stderr=True, highlight=False, markup=False, emoji=False)
"""Progress and errors: standard error."""
output = Console(
    highlight=False,
    markup=False,
    emoji=False,
    width=None if sys.stdout.isatty() or "COLUMNS" in os.environ else WIDE,
)
"""What was asked for: standard output. Tables are not folded where no terminal makes them."""


@contextmanager
def phase(name: str) -> Iterator[None]:
    """Names a step of unknown length and says how long it took."""
    started = time.monotonic()
    with console.status(Text(name)):
        yield
    tell_done(name, started)


def tell_done(name: str, started: float) -> None:
    console.print(Text.assemble(("✓", "green"), f" {name} ", (f"{time.monotonic() - started:.0f} s", "dim")))


def suggest(what: str, *words: object) -> None:
    """A command to go on with, in one line that a shell takes as it stands. words: of the command"""
    output.print(f"{what}: {shlex.join(map(str, words))}", soft_wrap=True)


class Rate(ProgressColumn):
    """Steps per second, in the task's own unit."""

    def render(self, task: Task) -> Text:
        speed = f"{task.speed:,.0f} {task.fields['unit']}/s" if task.speed else ""
        return Text(speed, style="dim")


class Bar:
    """Called with a number of steps, it advances; ``at`` says where it is, and of how many; ``say`` adds words."""

    def __init__(self, bars: Progress, task: TaskID) -> None:
        self._bars, self._task = bars, task

    def __call__(self, steps: int) -> None:
        self._bars.update(self._task, advance=steps)

    def at(self, done: int, total: int | None = None) -> None:
        self._bars.update(self._task, completed=done, total=total)

    def say(self, words: str) -> None:
        self._bars.update(self._task, words=words)


@contextmanager
def work(name: str, total: int, unit: str = "steps") -> Iterator[Bar]:
    """A bar of ``total`` steps, with their rate and the time left."""
    started = time.monotonic()
    description = TextColumn("  {task.description}", markup=False)
    columns = (description, BarColumn(), MofNCompleteColumn(), Rate(), TimeElapsedColumn())
    words = TextColumn("{task.fields[words]}", style="dim", markup=False)
    with Progress(*columns, TimeRemainingColumn(), words, console=console, transient=True) as bars:
        yield Bar(bars, bars.add_task(name, total=total, unit=unit, words=""))
    tell_done(name, started)


class ConsoleProgress:
    """The ``Progress`` of a run that a terminal hears."""

    phase = staticmethod(phase)
    work = staticmethod(work)

    def say(self, message: str) -> None:
        console.print(f"  {message}", soft_wrap=True)

    def warn(self, message: str) -> None:
        console.print(Text.assemble(("warning", "bold yellow"), f" {message}"), soft_wrap=True)
