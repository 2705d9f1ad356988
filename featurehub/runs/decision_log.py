"""The log of a watch: a line of JSON for each decision, which is flushed to the disk before the next is made.

Whoever writes it holds a lock on it, so that two watches never work on the same aliases. A line that a power cut left
half-written is no decision: it is left out when the log is read, and its checkpoint is looked at again.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from pydantic import ValidationError

from featurehub.decisions import Decision
from featurehub.errors import InvalidInput

__all__ = ["DecisionLog", "open_log"]


class DecisionLog:
    """The decisions so far.

    Args:
        file: The log, opened for reading and appending, and locked.

    Attributes:
        decisions: All decisions, the oldest first.
    """

    def __init__(self, file: IO[str]) -> None:
        self._file = file
        self.decisions = list(read(file))

    def add(self, decision: Decision) -> None:
        """Writes one more."""
        self._file.write(decision.model_dump_json() + "\n")
        self._file.flush()
        os.fsync(self._file.fileno())
        self.decisions.append(decision)


@contextmanager
def open_log(path: Path) -> Iterator[DecisionLog]:
    """Opens a log, which is made if necessary, and keeps it locked while the block runs.

    Raises:
        InvalidInput: Another process writes it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise InvalidInput(
                f"another watch writes {path}; end it first, or give this one a log of its own", param="log"
            ) from None
        yield DecisionLog(file)


def read(file: IO[str]) -> Iterator[Decision]:
    file.seek(0)
    text = file.read()
    if text and not text.endswith("\n"):
        file.write("\n")
    for line in text.splitlines():
        try:
            yield Decision.model_validate_json(line)
        except ValidationError:
            continue
