"""Reads what Neuronpedia exports: a list of explanations, or the batch layout."""

import gzip
import json
import zlib
from collections.abc import Iterator, Sequence
from io import BufferedIOBase
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from featurehub.errors import InvalidInput
from featurehub.runs.neuronpedia.rows import FOLDERS, ContextRow, Export, LabelRow, SourceRow, StatisticsRow
from featurehub.runs.progress import Progress

__all__ = ["read"]

LIST_BYTES, LINE_BYTES = 1 << 30, 16 << 20
"""Largest list, and the longest line of a .jsonl file, unpacked."""


def read(path: Path, progress: Progress) -> Export:
    """Reads a file or a folder. Raises InvalidInput."""
    files = files_of(path)
    export = Export()
    with progress.work(f"reading {path.name}", len(files), "files") as work:
        for file, kind in files:
            for number, row in enumerate(rows_of(file), start=1):
                try:
                    export.add(kind.model_validate(row))
                except ValueError as error:
                    why = error.errors()[0]["msg"] if isinstance(error, ValidationError) else str(error)
                    raise InvalidInput(f"{file}, row {number}: {why}") from None
            work(1)
    return export


def files_of(path: Path) -> Sequence[tuple[Path, type[SourceRow]]]:
    """The files to read, and what their rows are. Raises InvalidInput."""
    if path.is_file():
        return [(path, LabelRow)]
    kinds = zip(FOLDERS, (LabelRow, StatisticsRow, ContextRow), strict=True)
    found = [(file, kind) for name, kind in kinds for file in sorted((path / name).glob("*.jsonl*"))]
    if not found:
        raise InvalidInput(f"{path} is neither a file nor a folder with {', '.join(FOLDERS)} of .jsonl.gz files")
    return found


def rows_of(file: Path) -> Iterator[Any]:
    """The rows of a file: of a list, or one a line. Raises InvalidInput."""
    by_line = ".jsonl" in file.suffixes
    try:
        with gzip.open(file, "rb") if file.suffix == ".gz" else file.open("rb") as opened:
            while text := bounded(file, opened, by_line):
                if text.strip():
                    yield from [json.loads(text)] if by_line else json.loads(text)
    except (OSError, EOFError, zlib.error, json.JSONDecodeError, UnicodeDecodeError) as error:
        raise InvalidInput(f"{file} cannot be read: {error}") from None


def bounded(file: Path, opened: BufferedIOBase, by_line: bool) -> bytes:
    """The next line, or all of it; nothing at its end. Raises InvalidInput where that is too much."""
    most = LINE_BYTES if by_line else LIST_BYTES
    text = opened.readline(most + 1) if by_line else opened.read(most + 1)
    if len(text) > most:
        raise InvalidInput(f"{file} has a {'line' if by_line else 'list'} of more than {most >> 20} MiB; split it")
    return text
