"""Texts and chats from files of every kind, from folders, and from datasets."""

import itertools
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from featurehub.errors import InvalidInput
from saes.texts import HUB_ENTRIES, pinned, read_texts

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
    ],
)
def test_a_file_that_holds_no_texts_is_refused_by_name(tmp_path: Path, name: str, content: str | bytes) -> None:
    with pytest.raises(InvalidInput, match=name):
        read_texts(write(tmp_path / name, content))


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
    with pytest.raises(InvalidInput, match=r"c\.parquet has the columns other, more"):
        read_texts(parquet(tmp_path / "c.parquet", other=["x"], more=["y"]))
    with pytest.raises(InvalidInput, match=r"d\.parquet cannot be read"):
        read_texts(write(tmp_path / "d.parquet", b"PAR1 but no more"))


def test_a_folder_is_all_its_files_by_name(tmp_path: Path) -> None:
    parquet(tmp_path / "b" / "2.parquet", text=["three"])
    write(tmp_path / "a.jsonl", '"one"\n"two"')
    write(tmp_path / "c.txt", "four")
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
