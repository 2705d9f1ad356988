"""Tokens as texts: those of a Rust tokenizer, and of one that can only decode."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoTokenizer

from featurehub.demo.bundle import bundled_model
from featurehub.pieces import pieces

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
