"""Examples of classes: texts and chats with the class that each belongs to.

A .jsonl file with ``{"text": …, "label": …}`` or ``{"messages": […], "label": …}`` in each line. A label is a string, a
whole number or a truth value.
"""

import random
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from featurehub.errors import InvalidInput
from featurehub.token_ids import Entry
from saes.documents import Document, tokenize
from saes.texts import entry_of, json_lines, kind_of, named, rows_of

__all__ = ["Example", "read_examples", "tokenize_examples"]

MAX_CLASSES = 32
MIN_EXAMPLES = 8


class Example(NamedTuple):
    """A text or chat with its class.

    Attributes:
        entry: The text or chat.
        label: Name of the class.
    """

    entry: Entry
    label: str


def read_examples(path: Path, limit: int | None = None, seed: int = 0) -> list[Example]:
    """Reads labelled texts from a .jsonl file.

    Args:
        path: The file.
        limit: Draw only this many of its lines; None keeps all.
        seed: Seed of the draw.

    Raises:
        InvalidInput: If it is not a .jsonl file; if a line cannot be read, naming file and line; if there are fewer
            than 2 or more than 32 classes; or if a class has fewer than 8 texts.
    """
    if kind_of(path) is not json_lines or not path.is_file():
        raise InvalidInput(f"no .jsonl file {path} of labelled texts", param="labeled")
    with named(str(path)):
        rows = [example_of(row, f"{path}, text {number}") for number, row in enumerate(rows_of(path), 1)]
    if limit is not None and limit < len(rows):
        rows = random.Random(seed).sample(rows, limit)
    check_classes([row.label for row in rows], str(path))
    return rows


def example_of(row: Any, source: str) -> Example:
    label = row.get("label") if isinstance(row, dict) else None
    if not isinstance(label, str | int) or label == "":
        raise InvalidInput(f'{source}: "label" must be a string, a whole number or a truth value', param="labeled")
    return Example(entry_of(row, source), str(label))


def check_classes(labels: Sequence[str], source: str) -> None:
    """Raises InvalidInput if there are too few or too many classes, or too few texts of one."""
    counts = Counter(labels)
    if not 2 <= len(counts) <= MAX_CLASSES:
        raise InvalidInput(f"{source}: {len(counts)} classes; give 2 to {MAX_CLASSES}", param="labeled")
    rarest, count = counts.most_common()[-1]
    if count < MIN_EXAMPLES:
        raise InvalidInput(
            f"{source}: {count} texts of the class {rarest!r} are too few; give at least {MIN_EXAMPLES} of each",
            param="labeled",
        )


def tokenize_examples(tokenizer: Any, rows: Sequence[Example], max_tokens: int) -> tuple[list[Document], list[str]]:
    """Turns labelled texts into documents, leaving out what ``tokenize`` leaves out.

    Args:
        tokenizer: A tokenizer of transformers.
        rows: The labelled texts.
        max_tokens: Longer texts are cut after this many tokens.

    Returns:
        The documents, and the label of each.

    Raises:
        InvalidInput: If too few texts of a class are left.
    """
    made = tokenize(tokenizer, [row.entry for row in rows], max_tokens)
    # Backwards, so that of a text in several documents the first one stays.
    firsts = dict(reversed([*zip(made.sources, made.documents, strict=True)]))
    labels = [rows[source].label for source in sorted(firsts)]
    check_classes(labels, "the labelled texts of two tokens or more")
    return [firsts[source] for source in sorted(firsts)], labels
