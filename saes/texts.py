"""Texts and chats, wherever they lie: a file, a folder of files, or a dataset of the Hugging Face hub.

    .txt       paragraphs                                   .json      a list, or one entry
    .jsonl     an entry in each line                        .parquet   an entry in each row
    hf:OWNER/NAME[@COMMIT][:SPLIT]   rows of a dataset, streamed; SPLIT is ``train`` unless it is named

An entry is a string, ``{"text": …}`` or ``{"messages": [{"role", "content"}, …]}``; so are rows, by their columns.
"""

import json
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple, Self

from featurehub.errors import InvalidInput

__all__ = ["HUB_ENTRIES", "Message", "pinned", "read_texts"]

MAX_FILE_BYTES = 2 << 30
SUFFIXES = (".txt", ".json", ".jsonl", ".parquet")
HUB = "hf:"
HUB_ENTRIES = 100_000
"""Of a dataset, where nobody says how many: some have no end that memory would see."""
Message = dict[str, str]
Entry = str | list[Message]


def read_texts(source: str | Path, limit: int | None = None) -> list[Entry]:
    """The first ``limit`` entries, or all; of a dataset ``HUB_ENTRIES``.

    Raises InvalidInput naming the file, row or dataset that cannot be read.
    """
    if isinstance(source, str) and source.startswith(HUB):
        entries = list(islice(hub_entries(source), limit or HUB_ENTRIES))
    else:
        entries = list(islice(path_entries(Path(source)), limit))
    if not entries:
        raise InvalidInput(f"{source} holds no text", param="text")
    return entries


class Dataset(NamedTuple):
    """What a source names. commit: of its repository; "" for the latest, and for a folder of this machine"""

    name: str
    commit: str
    split: str

    @classmethod
    def of(cls, source: str) -> Self:
        name, _, split = source.removeprefix(HUB).partition(":")
        repository, _, commit = name.partition("@")
        return cls(name, "", split) if Path(name).exists() else cls(repository, commit, split)


def pinned(source: str) -> str:
    """The source with the commit that is the latest now; what lies on this machine as it is. Raises InvalidInput."""
    name, commit, split = Dataset.of(source)
    if not source.startswith(HUB) or commit or Path(name).exists():
        return source
    from datasets import load_dataset_builder

    with named(f"the dataset {source}"):
        latest = load_dataset_builder(name).hash or ""
    known = f"@{latest}" if re.fullmatch("[0-9a-f]{40}", latest) else ""
    return f"{HUB}{name}{known}" + (f":{split}" if split else "")


def path_entries(path: Path) -> Iterator[Entry]:
    """Of a folder, every file of a known kind in it, by name."""
    if not path.is_dir():
        yield from file_entries(path)
        return
    files = sorted(each for each in path.rglob("*") if each.suffix in SUFFIXES)
    if not files:
        raise InvalidInput(f"no {', '.join(SUFFIXES)} file in {path}", param="text")
    for file in files:
        yield from file_entries(file)


def file_entries(path: Path) -> Iterator[Entry]:
    if not path.is_file():
        raise InvalidInput(f"no text file {path}", param="text")
    if path.suffix != ".parquet" and path.stat().st_size > MAX_FILE_BYTES:
        raise InvalidInput(f"{path} is larger than {MAX_FILE_BYTES >> 30} GiB; split it", param="text")
    with named(str(path)):
        yield from (entry_of(each, str(path)) for each in parsed(path))


def parsed(path: Path) -> Iterable[Any]:
    match path.suffix:
        case ".parquet":
            return parquet_rows(path)
        case ".json":
            entries = json.loads(path.read_text(encoding="utf-8"))
            return entries if isinstance(entries, list) else [entries]
        case ".jsonl":
            return (json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line.strip())
        case _:
            return [part for part in path.read_text(encoding="utf-8").split("\n\n") if part.strip()]


def parquet_rows(path: Path) -> Iterator[dict[str, Any]]:
    """A batch of rows at a time, of the columns that hold text."""
    from pyarrow.parquet import ParquetFile

    file = ParquetFile(path)
    columns = [name for name in ("messages", "text") if name in file.schema_arrow.names]
    if not columns:
        named = ", ".join(file.schema_arrow.names)
        raise InvalidInput(f"{path} has the columns {named}; one must be text or messages", param="text")
    for batch in file.iter_batches(columns=columns[:1]):
        yield from batch.to_pylist()


def hub_entries(source: str) -> Iterator[Entry]:
    from datasets import load_dataset

    name, commit, split = Dataset.of(source)
    with named(f"the dataset {source}"):
        rows = load_dataset(name, revision=commit or None, split=split or "train", streaming=True)
        yield from (entry_of(row, source) for row in rows)


@contextmanager
def named(source: str) -> Iterator[None]:
    """Whatever a library says of the source becomes an InvalidInput that names it."""
    try:
        yield
    except InvalidInput:
        raise
    except (OSError, ValueError) as error:
        raise InvalidInput(f"{source} cannot be read: {error}", param="text") from None


def entry_of(value: Any, source: str) -> Entry:
    if isinstance(value, dict):
        value = value.get("messages", value.get("text"))
    if isinstance(value, str) or is_chat(value):
        return value
    kinds = 'a string, {"text": …} or {"messages": […]}'
    raise InvalidInput(f"{source}: an entry must be {kinds}, not {value!r:.80}", param="text")


def is_chat(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(map(is_message, value))


def is_message(message: Any) -> bool:
    return isinstance(message, dict) and all(isinstance(message.get(key), str) for key in ("role", "content"))
