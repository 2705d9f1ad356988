"""What SmolLM2's siblings are trained on: requests that are always the same, answered part by part."""

from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from featurehub.artifacts.artifact import open_artifact
from featurehub.demo.bundle import bundled_sae
from featurehub.demo.requests import requests
from featurehub.errors import InvalidInput
from featurehub.runs import own_chats, siblings
from featurehub.runs.mixture import Mixture
from featurehub.runs.own_chats import write_chats
from featurehub.runs.siblings import Sources, mixed, pairs_of, tune_sibling
from saes.texts import read_texts


class FakeEngine:
    """Answers each prompt with its number and the seed."""

    class tokenizer:  # noqa: N801
        """Turns a chat into one token per word."""

        chat_template = "yes"

        @staticmethod
        def apply_chat_template(messages: list[dict[str, str]], **options: Any) -> dict[str, list[int]]:
            return {"input_ids": [len(word) for word in messages[0]["content"].split()]}

    def __enter__(self) -> "FakeEngine":
        return self

    def __exit__(self, *error: object) -> None: ...

    def generate(self, prompts: list[list[int]], steerings: list[None], sampling: Any) -> Any:
        return (SimpleNamespace(text=f"answer {sampling.seed + i} ") for i in range(len(prompts)))


def sources(folder: Path, corpus: Path | None = None) -> Sources:
    return Sources(folder, folder, corpus, open_artifact(bundled_sae()), "featurehub.db")


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Counts how many engines were started."""
    engines: list[int] = []

    def answering(*_: object) -> FakeEngine:
        engines.append(1)
        return FakeEngine()

    monkeypatch.setattr(own_chats.Engines, "answering", answering)
    monkeypatch.setattr(own_chats, "PART", 4)
    return engines


def test_requests_are_always_the_same_and_range_over_subjects_and_forms() -> None:
    asked = requests()
    assert asked == requests()
    assert asked[0] == "Write a legal notice about the sea."
    assert len(asked) == 4860
    assert max(Counter(asked).values()) <= 6


def test_chats_are_written_part_by_part_with_a_seed_for_each(tmp_path: Path, started: list[int]) -> None:
    write_chats(tmp_path, tmp_path / "chats", 10)
    assert [path.name for path in sorted((tmp_path / "chats").iterdir())] == ["0000.jsonl", "0001.jsonl", "0002.jsonl"]
    chats = read_texts(tmp_path / "chats")
    assert [chat[0]["content"] for chat in chats if not isinstance(chat, str)] == requests()[:10]
    assert [chat[1]["content"] for chat in chats if not isinstance(chat, str)][5] == "answer 1005"


def test_what_is_there_is_not_answered_again(tmp_path: Path, started: list[int]) -> None:
    write_chats(tmp_path, tmp_path / "chats", 10)
    (tmp_path / "chats" / "0001.jsonl").unlink()
    kept = (tmp_path / "chats" / "0000.jsonl").stat().st_mtime_ns
    write_chats(tmp_path, tmp_path / "chats", 10)
    write_chats(tmp_path, tmp_path / "chats", 10)
    assert len(started) == 2
    assert (tmp_path / "chats" / "0000.jsonl").stat().st_mtime_ns == kept
    assert len(read_texts(tmp_path / "chats")) == 10


def test_more_chats_than_requests_are_refused_with_the_bound(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="there are 1 to 4,860 requests"):
        write_chats(tmp_path, tmp_path / "chats", 4861)


def test_an_unknown_sibling_is_refused_before_anything_is_read(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="there are benign, changed"):
        tune_sibling("other", sources(tmp_path), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_an_sae_of_another_layer_is_refused_with_both(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="after layer 14, and the fine-tuning changes it after layer 3"):
        pairs_of(sources(tmp_path), 2, 0, layer=3)


def test_the_changed_sibling_reads_the_last_of_what_its_sae_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entries = [f"text {i}" for i in range(9)]
    monkeypatch.setattr(siblings, "mix", lambda chats, corpus: Mixture(entries, entries[:2]))
    monkeypatch.setattr(siblings, "READ", 3)
    assert mixed(sources(tmp_path, corpus=tmp_path)) == ["text 6", "text 7", "text 8"]
    with pytest.raises(InvalidInput, match="--corpus FOLDER"):
        mixed(sources(tmp_path))
