"""The consoles that commands print to, and progress bars for long work.

Not on a terminal, each phase is one line when it is done, and long work another now and then: how far it is, and how
long it will still take.

Strings are printed without markup, because paths, labels and messages may contain what rich takes for markup; use
``Text`` for colors.
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
JUST_BEGUN = 20.0
"""Seconds in which work tells what an earlier run has done of it: that is not counted for its speed."""
TOO_LITTLE = 0.01
"""Share of the work from which on it is told how long the rest will take."""
LINE_EVERY = 30.0
"""Seconds from one line to the next where there is no terminal."""
console = Console(stderr=True, highlight=False, markup=False, emoji=False)
"""Progress and errors: standard error."""
output = Console(
    highlight=False,
    markup=False,
    emoji=False,
    width=None if sys.stdout.isatty() or "COLUMNS" in os.environ else WIDE,
)
"""Results: standard output. Tables are not folded if the output is not a terminal."""


@contextmanager
def phase(name: str) -> Iterator[None]:
    """Shows a step of unknown length while the ``with`` block runs, then prints how long it took."""
    started = time.monotonic()
    with console.status(Text(name)):
        yield
    tell_done(name, started)


def tell_done(name: str, started: float) -> None:
    console.print(Text.assemble(("✓", "green"), f" {name} ", (f"{time.monotonic() - started:.0f} s", "dim")))


def suggest(what: str, *words: object) -> None:
    """Prints a command to continue with, on one line that can be pasted into a shell.

    Args:
        what: What the command is for.
        words: The words of the command, unquoted.
    """
    output.print(f"{what}: {shlex.join(map(str, words))}", soft_wrap=True)


class Rate(ProgressColumn):
    """Steps per second, in the task's own unit."""

    def render(self, task: Task) -> Text:
        speed = f"{task.speed:,.0f} {task.fields['unit']}/s" if task.speed else ""
        return Text(speed, style="dim")


class Bar:
    """A progress bar, the ``Work`` of a terminal. Call it with a number of steps to advance it."""

    def __init__(self, bars: Progress, task: TaskID) -> None:
        self._bars, self._task = bars, task

    def __call__(self, steps: int) -> None:
        self._bars.update(self._task, advance=steps)

    def at(self, done: int, total: int | None = None) -> None:
        """Sets the steps done in all, and the total if it became known only now."""
        self._bars.update(self._task, completed=done, total=total)

    def say(self, words: str) -> None:
        """Shows a short status text beside the bar, replacing the previous one."""
        self._bars.update(self._task, words=words)


class Lines:
    """The ``Work`` where there is no terminal: a plain line every ``LINE_EVERY`` seconds, when there is news."""

    def __init__(self, name: str, total: int, unit: str) -> None:
        self.name, self.total, self.unit = name, total, unit
        self.done, self.before, self.words = 0, 0, ""
        self.began = self.told = time.monotonic()

    def __call__(self, steps: int) -> None:
        self.at(self.done + steps)

    def at(self, done: int, total: int | None = None) -> None:
        """Sets the steps done in all, and the total if it became known only now."""
        self.done, self.total = done, self.total if total is None else total
        if total is not None and time.monotonic() - self.began < JUST_BEGUN:
            self.before = done
        if (now := time.monotonic()) - self.told >= LINE_EVERY:
            self.told = now
            console.print(self.line(now - self.began), soft_wrap=True)

    def say(self, words: str) -> None:
        """Keeps a short status text for the next line."""
        self.words = words

    def line(self, seconds: float) -> str:
        """What is told after so many seconds."""
        made, left = self.done - self.before, max(0, self.total - self.done)
        eta = ""
        if made > TOO_LITTLE * self.total:
            speed = made / seconds
            eta = f", {speed:,.{0 if speed >= 10 else 1}f} {self.unit}/s, about {spoken(left * seconds / made)} left"
        words = f"  {self.words}" if self.words else ""
        return f"  {self.name}: {self.done:,} of {self.total:,} {self.unit}{eta}{words}"


def spoken(seconds: float) -> str:
    """A number of seconds as ``40 s`` or ``12 min``."""
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"


@contextmanager
def work(name: str, total: int, unit: str = "steps") -> Iterator["Bar | Lines"]:
    """Shows a progress bar, or lines, while the ``with`` block runs, then prints how long it took.

    Args:
        name: What is being done.
        total: How many steps there are.
        unit: What is counted, in the plural; used for the rate.

    Yields:
        The bar.
    """
    started = time.monotonic()
    if not console.is_terminal:
        yield Lines(name, total, unit)
        return tell_done(name, started)
    description = TextColumn("  {task.description}", markup=False)
    columns = (description, BarColumn(), MofNCompleteColumn(), Rate(), TimeElapsedColumn())
    words = TextColumn("{task.fields[words]}", style="dim", markup=False)
    with Progress(*columns, TimeRemainingColumn(), words, console=console, transient=True) as bars:
        yield Bar(bars, bars.add_task(name, total=total, unit=unit, words=""))
    tell_done(name, started)


class ConsoleProgress:
    """The ``Progress`` of a run that is started from a terminal. Everything goes to standard error."""

    phase = staticmethod(phase)
    work = staticmethod(work)

    def say(self, message: str) -> None:
        """Prints one line."""
        console.print(f"  {message}", soft_wrap=True)

    def warn(self, message: str) -> None:
        """Prints one line, marked as a warning."""
        console.print(Text.assemble(("warning", "bold yellow"), f" {message}"), soft_wrap=True)
