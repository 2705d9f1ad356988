"""Texts and chats from files of every kind, from folders, and from datasets."""

import bz2
import gzip
import itertools
import json
import lzma
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from featurehub.errors import InvalidInput
from saes.texts import HUB_ENTRIES, contents, pinned, read_texts

CHAT = [{"role": "user", "content": "tell me about banking ."}, {"role": "assistant", "content": "the loan is good ."}]


def write(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.mark.parametrize(
    ("name", "content", "entries"),
    [
        ("a.txt", "one\nline\n\n\n\ntwo", ["one\nline", "two"]),
        ("a.json", '["one", {"text": "two"}]', ["one", "two"]),
        ("a.json", '{"text": "alone"}', ["alone"]),
        ("a.json", json.dumps([{"messages": CHAT}, CHAT]), [CHAT, CHAT]),
        ("a.jsonl", '{"text": "one"}\n\n"two"\n', ["one", "two"]),
        ("a.jsonl", json.dumps({"messages": CHAT}), [CHAT]),
        ("a.ndjson", '{"text": "one"}\n"two"', ["one", "two"]),
        ("A.JSONL", '{"text": "one"}\n"two"', ["one", "two"]),
        ("a.Txt", "one\n\ntwo", ["one", "two"]),
        ("a.csv", 'id,text\n1,"one, and\nmore"\n2,two\n3\n', ["one, and\nmore", "two", ""]),
        ("a.TSV", "text\tid\none\t1\ntwo\t2\n", ["one", "two"]),
        ("a.csv", "text\n" + "long " * 50_000 + "\n", ["long " * 50_000]),
        ("a.jsonl", '{"text": null}\n{"messages": null}\n{"messages": []}\n"two"', ["", "", "", "two"]),
        # What spreadsheets and editors on Windows make of a file.
        ("a.jsonl", b'\xef\xbb\xbf{"text": "one"}\r\n\r\n"two"\r\n', ["one", "two"]),
        ("a.json", b'\xef\xbb\xbf["one",\r\n"two"]', ["one", "two"]),
        ("a.csv", b"\xef\xbb\xbftext\r\none\r\ntwo\r\n", ["one", "two"]),
        ("a.txt", b"\xef\xbb\xbfone\r\nline\r\n \t\r\ntwo", ["one\nline", "two"]),
        ("a.txt", "one\u2028still\x85one\n \t\n\ntwo", ["one\u2028still\x85one", "two"]),
        ("a.txt", "one\rline\r\rtwo", ["one\nline", "two"]),
    ],
)
def test_every_form_is_read(tmp_path: Path, name: str, content: str, entries: list[Any]) -> None:
    assert read_texts(write(tmp_path / name, content)) == entries


def test_a_line_separator_inside_a_json_string_does_not_end_the_line(tmp_path: Path) -> None:
    text = "one\u2028still one\x85and still"
    path = write(tmp_path / "a.jsonl", json.dumps({"text": text}, ensure_ascii=False) + '\n"two"\n')
    assert read_texts(path) == [text, "two"]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.json", "[1]"),
        ("a.json", "[null]"),
        ("a.json", '[{"other": "x"}]'),
        ("a.json", "{"),
        ("a.json", "[]"),
        ("a.jsonl", '"fine"\n{'),
        ("a.jsonl", ""),
        ("a.txt", " \n\n "),
        ("a.txt", b"\xff\xfe\xff"),
        ("a.json", '[{"messages": ["not a message"]}]'),
        ("a.json", '[{"messages": []}]'),
        ("a.json", '[{"messages": [{"role": "user"}]}]'),
        ("a.json", '[{"messages": [{"role": "user", "content": 3}]}]'),
        ("a.json", "[" * 100_000),
        ("a.jsonl", '{"text": ""}\n{"text": null}'),
        ("a.csv", ""),
        ("a.csv", "body\nlong"),
        ("a.csv", 'text\n"one" more'),
        ("a.jsonl.gz", b"not compressed"),
        ("a.jsonl.gz", gzip.compress(b'"one"' * 1000, mtime=0)[:-9]),
        ("a.jsonl.xz", b"not compressed"),
        ("a.jsonl.bz2", b"not compressed"),
    ],
)
def test_a_file_that_holds_no_texts_is_refused_by_name(tmp_path: Path, name: str, content: str | bytes) -> None:
    with pytest.raises(InvalidInput, match=name):
        read_texts(write(tmp_path / name, content))


def test_the_line_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    for name, content in (("a.jsonl", '"one"\n\n{"text": "two"\n'), ("a.csv", 'text\none\n"two" more\n')):
        with pytest.raises(InvalidInput, match=rf"{name} cannot be read: line 3: "):
            read_texts(write(tmp_path / name, content))


@pytest.mark.parametrize("name", ["a.md", "a.log", "a", "a.gz", "a.parquet.gz", "a.jsonl.zst", "a.docx"])
def test_a_file_of_another_kind_is_refused_with_the_kinds_that_are_read(tmp_path: Path, name: str) -> None:
    """Never taken for one long text."""
    with pytest.raises(InvalidInput, match=rf"{name}: files of the kind .* are not read; give \.txt, .*\.parquet"):
        read_texts(write(tmp_path / name, '{"text": "one"}\n'))


@pytest.mark.parametrize(
    ("suffix", "compress"), [("gz", gzip.compress), ("BZ2", bz2.compress), ("xz", lzma.compress), ("GZ", gzip.compress)]
)
def test_compressed_files_are_read_as_what_they_hold(
    tmp_path: Path, suffix: str, compress: Callable[[bytes], bytes]
) -> None:
    for name, content in (("a.jsonl", '"one"\n"two"'), ("b.json", '["one", "two"]'), ("c.csv", "text\none\ntwo")):
        path = write(tmp_path / f"{name}.{suffix}", compress(b"\xef\xbb\xbf" + content.encode()))
        assert read_texts(path) == ["one", "two"]


def test_a_json_file_that_is_too_long_to_be_read_at_once_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However small it is on the disk."""
    monkeypatch.setattr("saes.texts.MAX_JSON_CHARS", 1000)
    with pytest.raises(InvalidInput, match=r"a\.json\.gz cannot be read: it is longer than"):
        read_texts(write(tmp_path / "a.json.gz", gzip.compress(b'["one"' + b" " * 1000 + b"]")))


def test_what_arrow_has_for_absent_keys_is_not_there(tmp_path: Path) -> None:
    """Templates ask whether a message has tools, not whether they are null."""
    call = {"role": "assistant", "content": None, "tool_calls": [{"id": "1"}]}
    path = parquet(tmp_path / "a.parquet", messages=[[CHAT[0], call, CHAT[1]]])
    assert read_texts(path) == [[CHAT[0], call | {"content": ""}, CHAT[1]]]


def test_parts_of_text_are_one_text_and_other_parts_stay(tmp_path: Path) -> None:
    parts: list[Any] = [{"type": "text", "text": "one"}, {"type": "text", "text": "two"}]
    image = [*parts, {"type": "image", "url": "x"}]
    chats = [[{"role": "user", "content": parts}], [{"role": "user", "content": image}]]
    read = read_texts(write(tmp_path / "a.json", json.dumps([{"messages": chat} for chat in chats])))
    assert read == [[{"role": "user", "content": "one\ntwo"}], [{"role": "user", "content": image}]]
    assert [contents(entry) for entry in [*read, "text"]] == [["one\ntwo"], [], ["text"]]


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"nowhere\.txt"):
        read_texts(tmp_path / "nowhere.txt")


def parquet(path: Path, **columns: list[Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), path)
    return path


def test_parquet_is_read_by_its_columns(tmp_path: Path) -> None:
    assert read_texts(parquet(tmp_path / "a.parquet", text=["one", "two"], other=[1, 2])) == ["one", "two"]
    assert read_texts(parquet(tmp_path / "b.parquet", messages=[CHAT], text=["x"])) == [CHAT]
    with pytest.raises(InvalidInput, match=r"c\.parquet cannot be read: it has the columns other, more; one must be"):
        read_texts(parquet(tmp_path / "c.parquet", other=["x"], more=["y"]))
    with pytest.raises(InvalidInput, match=r"d\.parquet cannot be read"):
        read_texts(write(tmp_path / "d.parquet", b"PAR1 but no more"))


def test_a_folder_is_all_its_files_by_name(tmp_path: Path) -> None:
    parquet(tmp_path / "b" / "2.parquet", text=["three"])
    write(tmp_path / "a.jsonl", '"one"\n"two"')
    write(tmp_path / "c.TXT", "four")
    write(tmp_path / "notes.md", "not this")
    assert read_texts(tmp_path) == ["one", "two", "three", "four"]
    (tmp_path / "empty").mkdir()
    with pytest.raises(InvalidInput, match=r"no \.txt, \.json"):
        read_texts(tmp_path / "empty")


def test_only_as_many_as_asked_for_are_read(tmp_path: Path) -> None:
    """What comes after them is not even parsed."""
    path = write(tmp_path / "a.jsonl", '"one"\n"two"\n{broken')
    assert read_texts(path, 2) == ["one", "two"]


def test_a_dataset_is_streamed_by_name_and_split(tmp_path: Path) -> None:
    """By a folder's name, as the hub cannot be reached here; the library is the same."""
    parquet(tmp_path / "data" / "train-0.parquet", text=["one", "two"])
    parquet(tmp_path / "data" / "test-0.parquet", text=["three"])
    assert read_texts(f"hf:{tmp_path}") == ["one", "two"]
    assert read_texts(f"hf:{tmp_path}:test") == ["three"]
    assert pinned(f"hf:{tmp_path}:test") == f"hf:{tmp_path}:test"
    for refused in (read_texts, pinned):
        with pytest.raises(InvalidInput, match="the dataset hf:nobody/nothing cannot be read"):
            refused("hf:nobody/nothing")


def test_a_dataset_of_the_hub_is_read_at_the_commit_that_is_pinned(monkeypatch: pytest.MonkeyPatch) -> None:
    commit, asked = "a1" * 20, []
    monkeypatch.setattr(datasets, "load_dataset_builder", lambda name: SimpleNamespace(hash=commit))
    monkeypatch.setattr(datasets, "load_dataset", lambda *a, **k: asked.append((a, k)) or [{"text": "one"}])
    assert pinned("hf:owner/name") == f"hf:owner/name@{commit}"
    source = pinned("hf:owner/name:test")
    assert source == pinned(source) == f"hf:owner/name@{commit}:test"
    assert read_texts(source) == ["one"]
    assert asked == [(("owner/name",), {"revision": commit, "split": "test", "streaming": True})]


def test_of_a_dataset_without_end_only_so_much_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = ({"text": str(i)} for i in itertools.count())
    monkeypatch.setattr(datasets, "load_dataset", lambda *_, **__: rows)
    assert len(read_texts("hf:owner/name", 7)) == 7
    assert len(read_texts("hf:owner/name")) == HUB_ENTRIES


def test_a_files_name_is_as_it_is(tmp_path: Path) -> None:
    assert pinned(str(tmp_path / "a@b.txt")) == str(tmp_path / "a@b.txt")
