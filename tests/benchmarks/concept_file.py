"""Concepts to judge features by: their queries, and snippets with and without them, which chose nothing."""

import json
from pathlib import Path
from typing import Any, NamedTuple

__all__ = ["Concept", "concepts_of", "lines"]


class Concept(NamedTuple):
    """A concept: its queries, the plain one first, and the snippets that show it and those that do not."""

    name: str
    queries: list[str]
    positives: list[str]
    negatives: list[str]

    @property
    def query(self) -> str:
        """The plain-English query."""
        return self.queries[0]


def concepts_of(path: Path) -> list[Concept]:
    """The concepts of a file."""
    rows = lines(path)
    return [Concept(r["concept"], [r["query"], *r["paraphrases"]], r["positives"], r["negatives"]) for r in rows]


def lines(path: Path) -> list[dict[str, Any]]:
    """The objects of a file with one in each line."""
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]
