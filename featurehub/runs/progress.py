"""What a long run says of itself while it goes on. Whoever starts one hears it: a terminal, a job queue, a web page."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Protocol

__all__ = ["SILENT", "Progress", "Silent", "Work"]


class Work(Protocol):
    """Work of a known length, under way."""

    def __call__(self, steps: int) -> None:
        """So many more steps are done."""
        ...

    def at(self, done: int, total: int | None = None) -> None:
        """So many steps are done in all. ``total``: of how many, where that has become known only now."""
        ...

    def say(self, words: str) -> None:
        """How it stands, in place of what was said of it before."""
        ...


class Progress(Protocol):
    """Told by a run what it does. A method that raises ends the run, which keeps what it has as at any other end."""

    def phase(self, name: str) -> AbstractContextManager[None]:
        """A step of unknown length, for as long as the block runs."""
        ...

    def work(self, name: str, total: int, unit: str = "steps") -> AbstractContextManager[Work]:
        """Work of ``total`` units, for as long as the block runs."""
        ...

    def say(self, message: str) -> None:
        """One line, in plain text."""
        ...

    def warn(self, message: str) -> None:
        """One line that should not be overlooked, in plain text."""
        ...


class Silent:
    """A ``Progress`` that nobody hears."""

    def phase(self, name: str) -> AbstractContextManager[None]:
        return nullcontext()

    @contextmanager
    def work(self, name: str, total: int, unit: str = "steps") -> Iterator[Work]:
        yield Unheard()

    def say(self, message: str) -> None: ...

    def warn(self, message: str) -> None: ...


class Unheard:
    """The ``Work`` of ``Silent``."""

    def __call__(self, steps: int) -> None: ...

    def at(self, done: int, total: int | None = None) -> None: ...

    def say(self, words: str) -> None: ...


SILENT: Progress = Silent()
