"""How a long run reports its progress to whoever started it: a terminal, a job queue or a web page."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Protocol

__all__ = ["SILENT", "Progress", "Silent", "Work"]


class Work(Protocol):
    """Work of a known length that is in progress."""

    def __call__(self, steps: int) -> None:
        """Reports that ``steps`` more steps are done."""
        ...

    def at(self, done: int, total: int | None = None) -> None:
        """Reports the number of steps done so far.

        Args:
            done: Steps done in all.
            total: The new total, if it became known only now; None leaves it as it is.
        """
        ...

    def say(self, words: str) -> None:
        """Shows a short status text, replacing the previous one."""
        ...


class Progress(Protocol):
    """Receives the reports of a run.

    A method that raises ends the run, which then keeps its unfinished work as after any other interruption.
    """

    def phase(self, name: str) -> AbstractContextManager[None]:
        """Announces a step of unknown length, which lasts as long as the ``with`` block."""
        ...

    def work(self, name: str, total: int, unit: str = "steps") -> AbstractContextManager[Work]:
        """Announces work of a known length, which lasts as long as the ``with`` block.

        Args:
            name: What is being done.
            total: How many units of work there are.
            unit: What is counted, in the plural.
        """
        ...

    def say(self, message: str) -> None:
        """Reports one line of plain text."""
        ...

    def warn(self, message: str) -> None:
        """Reports one line of plain text that should not be overlooked."""
        ...


class Silent:
    """A ``Progress`` that discards everything."""

    def phase(self, name: str) -> AbstractContextManager[None]:
        """A block that reports nothing."""
        return nullcontext()

    @contextmanager
    def work(self, name: str, total: int, unit: str = "steps") -> Iterator[Work]:
        """Yields a ``Work`` that discards everything."""
        yield Unheard()

    def say(self, message: str) -> None: ...

    def warn(self, message: str) -> None: ...


class Unheard:
    """The ``Work`` of ``Silent``."""

    def __call__(self, steps: int) -> None: ...

    def at(self, done: int, total: int | None = None) -> None: ...

    def say(self, words: str) -> None: ...


SILENT: Progress = Silent()
"""The default ``Progress`` of every pipeline."""
