"""Tokens as texts: those of a Rust tokenizer, and of one that can only decode."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoTokenizer

from featurehub.demo.bundle import bundled_model
from featurehub.pieces import pieces, vocabulary

FOLDER = "data/stories260k"


class Slow:
    """Without a Rust backend, as tokenizers of some models are."""

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer = tokenizer

    def decode(self, ids: list[int], skip_special_tokens: bool) -> str:
        return self.tokenizer.decode(ids, skip_special_tokens=skip_special_tokens)


@pytest.fixture(scope="module")
def bundled() -> Any:
    return AutoTokenizer.from_pretrained(bundled_model())


@given(text=st.lists(st.sampled_from(["the", "loan", "zebra", "✓", "!?", "x1"]), max_size=12).map(" ".join))
@pytest.mark.parametrize("special", [False, True])
def test_both_ways_are_one(bundled: Any, text: str, special: bool) -> None:
    ids = bundled(text)["input_ids"]
    found = pieces(Slow(bundled), ids, special)
    assert found == pieces(bundled, ids, special)
    assert "".join(found) == bundled.decode(ids, skip_special_tokens=not special)


@pytest.mark.shared
@pytest.mark.parametrize("text", ["Once upon a time, Lily's cat ran.", "naïve ✓ 漢字 🙂 end", "\n  two lines\n"])
def test_characters_of_many_tokens_and_leading_spaces(shared: Any, text: str) -> None:
    foreign = AutoTokenizer.from_pretrained(shared / FOLDER)
    ids = foreign(text)["input_ids"]
    for tokenizer in (foreign, Slow(foreign)):
        found = pieces(tokenizer, ids)
        assert "".join(found) == foreign.decode(ids, skip_special_tokens=True)
        assert "\ufffd" not in "".join(found)


def test_special_tokens_by_name_or_not_at_all(bundled: Any) -> None:
    ids = bundled("the loan")["input_ids"]
    begin = [bundled.bos_token_id, *[each for each in ids if each != bundled.bos_token_id]]
    assert pieces(bundled, begin, special=True)[0] == bundled.bos_token
    assert pieces(bundled, begin)[0] == ""


def test_a_vocabulary_is_texts_as_they_stand_behind_others(bundled: Any) -> None:
    found = vocabulary(bundled)
    assert len(found) == len(bundled)
    [banking] = bundled("banking", add_special_tokens=False)["input_ids"]
    assert found[banking] == " banking"
    assert found[bundled.bos_token_id] == bundled.bos_token


@pytest.mark.shared
def test_parts_of_words_have_no_space(shared: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(shared / FOLDER)
    found = vocabulary(tokenizer)
    names = tokenizer.convert_ids_to_tokens(list(range(len(tokenizer))))
    words = [(name, text) for name, text in zip(names, found, strict=True) if name.startswith("▁") and len(name) > 2]
    assert len(words) > 20
    assert all(text == " " + name[1:] for name, text in words)
    assert found[names.index("ing")] == "ing"
