"""A ``Progress`` that remembers what it is told."""

from collections.abc import Iterator
from contextlib import contextmanager


class RecordedWork:
    """done: the last number of steps;  words: the last that was said"""

    def __init__(self, total: int, unit: str) -> None:
        self.total, self.unit = total, unit
        self.done, self.words = 0, ""

    def __call__(self, steps: int) -> None:
        self.done += steps

    def at(self, done: int, total: int | None = None) -> None:
        self.done = done
        self.total = self.total if total is None else total

    def say(self, words: str) -> None:
        self.words = words


class Recording:
    """phases: those that ended, and work too, in their order;  works: by name;  kind: of them"""

    kind = RecordedWork

    def __init__(self) -> None:
        self.phases: list[str] = []
        self.works: dict[str, RecordedWork] = {}
        self.messages: list[str] = []
        self.warnings: list[str] = []

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        yield
        self.phases.append(name)

    @contextmanager
    def work(self, name: str, total: int, unit: str = "steps") -> Iterator[RecordedWork]:
        self.works[name] = self.kind(total, unit)
        yield self.works[name]
        self.phases.append(name)

    def say(self, message: str) -> None:
        self.messages.append(message)

    def warn(self, message: str) -> None:
        self.warnings.append(message)
