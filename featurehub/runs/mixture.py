"""The text that the SAE of SmolLM2 is trained on: its own chats, and chats and texts of a corpus, shuffled.

1. A corpus is a folder of ``.jsonl.gz`` files whose lines are ``{"messages": […], "source": …}`` or ``{"text": …,
   "source": …}``.
2. Its sources take turns, so that no large one prevails, until there are enough chats and enough texts.
3. What may be passed on: the model's own chats, and books of Standard Ebooks, which are in the public domain (CC0).
"""

import random
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from featurehub.errors import InvalidInput
from featurehub.token_ids import Entry
from saes.texts import named, rows_of

__all__ = ["Mixture", "mix"]

SEED = 11
CHATS, TEXTS = 13_500, 12_500
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
    answered, others = list(rows_in(own, "*.jsonl")), list(rows_in(corpus, "*.jsonl.gz"))
    if not answered:
        raise InvalidInput(f"{own} holds no chats; `featurehub demo chats --out {own}` writes them", param="chats")
    for kind in ("messages", "text"):
        if not any(kind in row for row in others):
            raise InvalidInput(f"{corpus} has no .jsonl.gz file with {kind}", param="corpus")
    rng = random.Random(SEED)
    chats = list(islice(turns([row for row in others if "messages" in row], rng), CHATS))
    rows = answered + chats + list(islice(turns([row for row in others if "text" in row], rng), TEXTS))
    rng.shuffle(rows)
    free = [row for row in rows if row.get("source", FREE).startswith(FREE)]
    return Mixture([entry(row) for row in rows], [entry(row) for row in free])


def turns(rows: Sequence[dict[str, Any]], rng: random.Random) -> Iterator[dict[str, Any]]:
    """The rows, one of each source in turn."""
    by_source: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        by_source.setdefault(row["source"], []).append(row)
    for own in by_source.values():
        rng.shuffle(own)
    while by_source:
        for source in list(by_source):
            yield by_source[source].pop()
            if not by_source[source]:
                del by_source[source]


def rows_in(folder: Path, pattern: str) -> Iterator[dict[str, Any]]:
    for path in sorted(folder.glob(pattern)):
        with named(str(path)):
            yield from rows_of(path)


def entry(row: dict[str, Any]) -> Entry:
    return row["messages"] if "messages" in row else row["text"]
