"""The text that the demo's SAE is trained on: all sources in turn, and what may be passed on is marked."""

import gzip
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from featurehub.errors import InvalidInput
from featurehub.runs import mixture
from featurehub.runs.mixture import mix
from featurehub.token_ids import Message


def chat(text: str) -> list[Message]:
    return [{"role": "user", "content": text}]


def write_rows(path: Path, rows: Sequence[Mapping[str, object]]) -> None:
    with gzip.open(path, "wt") as file:
        file.write("".join(json.dumps(row) + "\n" for row in rows))


@pytest.fixture
def own(tmp_path: Path) -> Path:
    folder = tmp_path / "own"
    folder.mkdir()
    (folder / "0000.jsonl").write_text(json.dumps({"messages": chat("own")}) + "\n")
    return folder


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    folder = tmp_path / "corpus"
    folder.mkdir()
    chats = [{"messages": chat(f"large {i}"), "source": "large"} for i in range(50)]
    chats += [{"messages": chat(f"small {i}"), "source": "small"} for i in range(2)]
    write_rows(folder / "chats.jsonl.gz", chats)
    texts = [{"text": f"{source} {i}", "source": source} for source in ("se:book", "web") for i in range(9)]
    write_rows(folder / "texts.jsonl.gz", texts)
    return folder


def test_sources_take_turns_until_there_is_enough(own: Path, corpus: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mixture, "CHATS", 6)
    monkeypatch.setattr(mixture, "TEXTS", 4)
    mixed = mix(own, corpus)
    words = [(each if isinstance(each, str) else str(each[0].get("content"))).split()[0] for each in mixed.entries]
    assert {word: words.count(word) for word in words} == {"own": 1, "small": 2, "large": 4, "se:book": 2, "web": 2}


def test_own_chats_and_free_books_may_be_passed_on(own: Path, corpus: Path) -> None:
    mixed = mix(own, corpus)
    assert chat("own") in mixed.examples
    assert all(each == chat("own") or str(each).startswith("se:") for each in mixed.examples)
    assert len(mixed.examples) == 10


def test_equal_folders_are_mixed_equally(own: Path, corpus: Path) -> None:
    assert mix(own, corpus) == mix(own, corpus)


def test_missing_chats_or_corpus_are_refused(own: Path, corpus: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(InvalidInput, match="demo chats"):
        mix(tmp_path / "empty", corpus)
    with pytest.raises(InvalidInput, match=r"jsonl\.gz"):
        mix(own, tmp_path / "empty")
