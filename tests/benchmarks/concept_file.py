"""Concepts to judge features by: their queries, and snippets with and without them, which chose nothing."""

import json
from pathlib import Path
from typing import Any, NamedTuple

__all__ = ["Concept", "concepts_of", "lines"]


class Concept(NamedTuple):
    """A concept.

    Attributes:
        name: Its name.
        kind: "topic", "manner" or "behaviour".
        queries: What people would look for it by, the plain query first.
        positives: Snippets that show it.
        negatives: Snippets that do not.
    """

    name: str
    kind: str
    queries: list[str]
    positives: list[str]
    negatives: list[str]

    @property
    def query(self) -> str:
        """The plain-English query."""
        return self.queries[0]


def concepts_of(path: Path) -> list[Concept]:
    """The concepts of a file."""
    return [
        Concept(
            each["concept"], each["kind"], [each["query"], *each["paraphrases"]], each["positives"], each["negatives"]
        )
        for each in lines(path)
    ]


def lines(path: Path) -> list[dict[str, Any]]:
    """The objects of a file with one in each line."""
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]
