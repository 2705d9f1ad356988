"""The text that the SAE of SmolLM2 is trained on: its own chats, and chats and texts of a corpus, shuffled.

1. A corpus is a folder of ``.jsonl.gz`` files whose lines are ``{"messages": […], "source": …}`` or ``{"text": …,
   "source": …}``.
2. Its sources take turns, so that no large one prevails, until there are enough chats and enough texts.
3. What may be passed on: the model's own chats, and books of Standard Ebooks, which are in the public domain (CC0).
"""

import gzip
import json
import random
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from featurehub.errors import InvalidInput
from saes.texts import Entry

__all__ = ["Mixture", "mix"]

SEED = 11
CHATS, TEXTS = 3300, 2500
"""How many of a corpus' chats and texts are taken."""
FREE = "se:"
"""Sources of this prefix are in the public domain."""


class Mixture(NamedTuple):
    """What is trained on.

    Attributes:
        entries: Texts and chats, in the order in which they are read.
        examples: Those of them that may be passed on.
    """

    entries: list[Entry]
    examples: list[Entry]


def mix(own: Path, corpus: Path) -> Mixture:
    """Mixes a model's own chats with a corpus.

    Args:
        own: What ``featurehub demo chats`` wrote.
        corpus: The folder of the corpus.

    Raises:
        InvalidInput: There are no chats, or no corpus.
    """
    answered = [
        json.loads(line) for path in sorted(own.glob("*.jsonl")) for line in path.read_text("utf-8").split("\n") if line
    ]
    if not answered:
        raise InvalidInput(f"{own} holds no chats; `featurehub demo chats --out {own}` writes them", param="chats")
    rng = random.Random(SEED)
    rows = answered + [
        row for kind, count in (("messages", CHATS), ("text", TEXTS)) for row in islice(turns(corpus, kind, rng), count)
    ]
    rng.shuffle(rows)
    free = [row for row in rows if row.get("source", FREE).startswith(FREE)]
    return Mixture([entry(row) for row in rows], [entry(row) for row in free])


def turns(corpus: Path, kind: str, rng: random.Random) -> Iterator[dict[str, Any]]:
    """The corpus' rows that have this key, one of each source in turn; raises InvalidInput if there are none."""
    by_source: dict[str, list[dict[str, Any]]] = {}
    for row in rows_of(corpus):
        if kind in row:
            by_source.setdefault(row["source"], []).append(row)
    if not by_source:
        raise InvalidInput(f"{corpus} has no .jsonl.gz file with {kind}", param="corpus")
    for rows in by_source.values():
        rng.shuffle(rows)
    while by_source:
        for source in list(by_source):
            yield by_source[source].pop()
            if not by_source[source]:
                del by_source[source]


def rows_of(corpus: Path) -> Iterator[dict[str, Any]]:
    for path in sorted(corpus.glob("*.jsonl.gz")):
        with gzip.open(path, "rt", encoding="utf-8") as file:
            yield from map(json.loads, file)


def entry(row: dict[str, Any]) -> Entry:
    return row["messages"] if "messages" in row else row["text"]
