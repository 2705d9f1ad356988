"""Texts and chats, wherever they lie: a file, a folder of files, or a dataset of the Hugging Face hub.

    .txt             paragraphs, parted by blank lines   .json   a list, or one entry
    .jsonl, .ndjson  an entry in each line               .csv, .tsv, .parquet   an entry in each row
    hf:OWNER/NAME[@COMMIT][:SPLIT]   rows of a dataset, streamed; SPLIT is ``train`` unless it is named

All but .parquet may be compressed (.gz, .bz2, .xz), and suffixes may be in capitals. Files are UTF-8, with a byte order
mark or without, with the line ends of any system.

An entry is a string, ``{"text": …}`` or ``{"messages": [{"role", "content"}, …]}``; so are rows, by their columns.
Arrow has null for what a row lacks: a null text is empty, and nulls in a message are dropped.
"""

import bz2
import csv
import gzip
import json
import lzma
import re
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import groupby, islice
from pathlib import Path
from typing import IO, Any, NamedTuple, Self

from featurehub.errors import InvalidInput
from featurehub.token_ids import Entry, Message

__all__ = ["HUB_ENTRIES", "contents", "named", "pinned", "read_texts", "rows_of"]

MAX_JSON_CHARS = 2 << 30
"""Longest .json file that is read, since it is read at once; the other kinds of file are read piece by piece."""
HUB = "hf:"
HUB_ENTRIES = 100_000
"""How many entries of a dataset are read by default: some datasets are too long for any memory."""


def read_texts(source: str | Path, limit: int | None = None) -> list[Entry]:
    """Reads texts and chats from a file, a folder or a dataset.

    Args:
        source: A path, or ``hf:OWNER/NAME[@COMMIT][:SPLIT]``; the module lists the kinds of file.
        limit: Read only this many entries; None reads all, or ``HUB_ENTRIES`` of a dataset.

    Raises:
        InvalidInput: If something cannot be read, naming the file, row or dataset; or if there is no text.
    """
    if isinstance(source, str) and source.startswith(HUB):
        entries = list(islice(hub_entries(source), limit or HUB_ENTRIES))
    else:
        entries = list(islice(path_entries(Path(source)), limit))
    if not entries:
        raise InvalidInput(f"{source} holds no text", param="text")
    if not any(entries):
        raise InvalidInput(f"no text in {source} has two tokens: all of {len(entries):,} are empty", param="text")
    return entries


def contents(entry: Entry) -> list[str]:
    """Returns the text of an entry; for a chat, the text of each message."""
    return [entry] if isinstance(entry, str) else [m["content"] for m in entry if isinstance(m["content"], str)]


class Dataset(NamedTuple):
    """What a source of the form ``hf:…`` names.

    Attributes:
        name: A dataset of the hub, or a folder on this machine.
        commit: Commit of its repository; "" for the latest, and for a folder.
        split: Name of the split; "" if the source names none.
    """

    name: str
    commit: str
    split: str

    @classmethod
    def of(cls, source: str) -> Self:
        """Returns what a source names."""
        name, _, split = source.removeprefix(HUB).partition(":")
        repository, _, commit = name.partition("@")
        return cls(name, "", split) if Path(name).exists() else cls(repository, commit, split)


def pinned(source: str) -> str:
    """Returns the source with the latest commit of its dataset; sources on this machine are returned unchanged.

    Raises:
        InvalidInput: If the dataset cannot be reached.
    """
    name, commit, split = Dataset.of(source)
    if not source.startswith(HUB) or commit or Path(name).exists():
        return source
    from datasets import load_dataset_builder

    with named(f"the dataset {source}"):
        latest = load_dataset_builder(name).hash or ""
    known = f"@{latest}" if re.fullmatch("[0-9a-f]{40}", latest) else ""
    return f"{HUB}{name}{known}" + (f":{split}" if split else "")


def path_entries(path: Path) -> Iterator[Entry]:
    """Yields the entries of a file, or of every file of a known kind in a folder, by name."""
    if not path.is_dir():
        yield from file_entries(path)
        return
    files = sorted(each for each in path.rglob("*") if is_known(each) and each.is_file())
    if not files:
        raise InvalidInput(f"no {KNOWN} file in {path}", param="text")
    for file in files:
        yield from file_entries(file)


def file_entries(path: Path) -> Iterator[Entry]:
    with named(str(path)):
        yield from (entry_of(each, str(path)) for each in rows_of(path))


def rows_of(path: Path) -> Iterator[Any]:
    """Yields the rows of a file; raises InvalidInput if it is missing or of an unknown kind."""
    if not path.is_file():
        raise InvalidInput(f"no text file {path}", param="text")
    if path.suffix.lower() == PARQUET:
        yield from parquet_rows(path)
    elif (read := kind_of(path)) is not None:
        with opened(path) as file:
            yield from read(file)
    else:
        raise InvalidInput(
            f"{path}: files of the kind {path.suffix or 'without a suffix'} are not read; give {KNOWN}", param="text"
        )


def is_known(path: Path) -> bool:
    return path.suffix.lower() == PARQUET or kind_of(path) is not None


def kind_of(path: Path) -> Callable[[IO[str]], Iterator[Any]] | None:
    """Returns the reader for a file's suffix, or None if the kind is unknown."""
    suffix = path.suffix.lower()
    return READERS.get(Path(path.stem).suffix.lower() if suffix in COMPRESSED else suffix)


def opened(path: Path) -> IO[str]:
    """Opens a file as text, without its byte order mark; line ends stay as they are."""
    opener = COMPRESSED.get(path.suffix.lower(), open)
    return opener(path, "rt", encoding="utf-8-sig", newline="")


def paragraphs(file: IO[str]) -> Iterator[str]:
    lines = (line.rstrip("\r\n") + "\n" for line in file)
    for blank, group in groupby(lines, key=str.isspace):
        if not blank:
            yield "".join(group).rstrip("\n")


def whole_json(file: IO[str]) -> Iterator[Any]:
    text = file.read(MAX_JSON_CHARS + 1)
    if len(text) > MAX_JSON_CHARS:
        raise ValueError(f"it is longer than {MAX_JSON_CHARS >> 30} G characters; write an entry a line into a .jsonl")
    value = json.loads(text)
    yield from value if isinstance(value, list) else [value]


def json_lines(file: IO[str]) -> Iterator[Any]:
    for number, line in enumerate(file, 1):
        if line.strip():
            try:
                yield json.loads(line)
            except ValueError as error:
                raise ValueError(f"line {number}: {error}") from None


def separated(delimiter: str) -> Callable[[IO[str]], Iterator[Any]]:
    def rows(file: IO[str]) -> Iterator[dict[str, str | None]]:
        csv.field_size_limit(MAX_JSON_CHARS - 1)  # documents exceed Python's default limit of a field
        reader = csv.DictReader(file, delimiter=delimiter, strict=True)
        try:
            column = check_columns(list(reader.fieldnames or ()), ("text",))
            yield from ({column: row[column]} for row in reader)
        except csv.Error as error:
            raise ValueError(f"line {reader.line_num + 1}: {error}") from None

    return rows


def parquet_rows(path: Path) -> Iterator[dict[str, Any]]:
    """Yields rows with only the column that holds text, read batch by batch."""
    from pyarrow.parquet import ParquetFile

    file = ParquetFile(path)
    column = check_columns(file.schema_arrow.names, ("messages", "text"))
    for batch in file.iter_batches(columns=[column]):
        yield from batch.to_pylist()


def check_columns(names: list[str], wanted: tuple[str, ...]) -> str:
    """Returns the first wanted column that is there, and raises ValueError if none is."""
    found = [name for name in wanted if name in names]
    if not found:
        raise ValueError(f"it has the columns {', '.join(names)}; one must be {' or '.join(wanted)}")
    return found[0]


PARQUET = ".parquet"
COMPRESSED: dict[str, Any] = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}
READERS: dict[str, Callable[[IO[str]], Iterator[Any]]] = {
    ".txt": paragraphs,
    ".json": whole_json,
    ".jsonl": json_lines,
    ".ndjson": json_lines,
    ".csv": separated(","),
    ".tsv": separated("\t"),
}
KNOWN = f"{', '.join(READERS)} (or these with {', '.join(COMPRESSED)}), {PARQUET}"


def hub_entries(source: str) -> Iterator[Entry]:
    from datasets import load_dataset

    name, commit, split = Dataset.of(source)
    with named(f"the dataset {source}"):
        rows = load_dataset(name, revision=commit or None, split=split or "train", streaming=True)
        yield from (entry_of(row, source) for row in rows)


@contextmanager
def named(source: str) -> Iterator[None]:
    """Turns whatever a library raises about the source into an InvalidInput that names it."""
    try:
        yield
    except InvalidInput:
        raise
    except (OSError, ValueError, EOFError, RecursionError, zlib.error, lzma.LZMAError) as error:
        raise InvalidInput(f"{source} cannot be read: {error}", param="text") from None


def entry_of(value: Any, source: str) -> Entry:
    """Returns the entry that a row holds; raises InvalidInput if it holds none."""
    found = value
    if isinstance(found, dict) and found.keys() & {"messages", "text"}:
        found = found.get("messages") or found.get("text") or ""
    if isinstance(found, str):
        return found
    if isinstance(found, list) and found and all(map(is_message, found)):
        return [message_of(each) for each in found]
    kinds = 'a string, {"text": …} or {"messages": […]}'
    raise InvalidInput(f"{source}: an entry must be {kinds}, not {value!r:.80}", param="text")


def is_message(message: Any) -> bool:
    """Returns whether it has a role and a content; a message that calls tools may lack the content."""
    return (
        isinstance(message, dict)
        and isinstance(message.get("role"), str)
        and ("content" in message or "tool_calls" in message)
        and isinstance(message.get("content"), str | list | None)
    )


def message_of(message: dict[str, Any]) -> Message:
    """Returns the message without nulls, its content's parts joined into one string as vLLM does for a template."""
    content = message.get("content")
    if isinstance(content, list) and all(map(is_text, content)):
        content = "\n".join(each if isinstance(each, str) else each["text"] for each in content)
    return {key: each for key, each in message.items() if each is not None} | {"content": content or ""}


def is_text(part: Any) -> bool:
    return isinstance(part, str) or (
        isinstance(part, dict) and part.get("type", "text") == "text" and isinstance(part.get("text"), str)
    )
