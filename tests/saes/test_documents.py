"""Texts and chats as token ids, and token by token as text again."""

from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoTokenizer

from saes.documents import Document, pieces, prompt_ids, special_ids, tokenize

CHAT = [{"role": "user", "content": "tell me about banking ."}, {"role": "assistant", "content": "the loan is good ."}]


def test_a_chat_is_cut_where_the_last_message_begins(tokenizer: Any) -> None:
    [document] = tokenize(tokenizer, [CHAT], max_tokens=500)
    prompt, answer = document.token_ids[: document.prompt_len], document.token_ids[document.prompt_len :]
    assert prompt == prompt_ids(tokenizer, CHAT[:1])
    content = list(tokenizer(CHAT[1]["content"], add_special_tokens=False)["input_ids"])
    assert answer[: len(content)] == content
    assert set(answer[len(content) :]) <= set(tokenizer.all_special_ids)


def test_documents_are_cut_and_the_ones_too_short_left_out(tokenizer: Any) -> None:
    read = list(tokenize(tokenizer, ["the loan " * 50, "", CHAT], max_tokens=10))
    assert [len(document.token_ids) for document in read] == [10, 10]
    assert all(document.prompt_len <= 10 for document in read)
    whole = tokenizer("the loan " * 50)["input_ids"]
    assert read[0] == Document(list(whole[:10]), 10)


@given(
    text=st.lists(st.sampled_from(["the", "loan", "is", "zebra", "Ünïcode", "✓", "!?", "x1"]), max_size=12).map(
        " ".join
    )
)
def test_the_pieces_of_the_bundled_tokenizer_join_to_its_text(tokenizer: Any, text: str) -> None:
    ids = tokenizer(text)["input_ids"]
    found = pieces(tokenizer, ids)
    assert len(found) == len(ids)
    assert "".join(found) == tokenizer.decode(ids, skip_special_tokens=True)


def test_special_tokens_have_no_text(tokenizer: Any) -> None:
    [document] = tokenize(tokenizer, [CHAT], max_tokens=500)
    special = special_ids(tokenizer)
    assert set(tokenizer.convert_tokens_to_ids(["<s>", "<|user|>", "<|assistant|>"])) <= special
    assert special & set(document.token_ids)
    found = pieces(tokenizer, document.token_ids)
    assert {piece for piece, token in zip(found, document.token_ids, strict=True) if token in special} == {""}
    assert found[2:7] == ["tell", " me", " about", " banking", "."]


def test_the_pieces_of_a_byte_tokenizer_join_to_its_text_across_characters_of_many_bytes(shared: Path) -> None:
    foreign = AutoTokenizer.from_pretrained(shared / "data" / "stories260k")
    for text in ("Once upon a time, Lily's cat ran.", "naïve ✓ 漢字 🙂 end", "\n  two lines\n"):
        ids = foreign(text)["input_ids"]
        found = pieces(foreign, ids)
        assert len(found) == len(ids)
        assert "".join(found) == foreign.decode(ids, skip_special_tokens=True)
