"""Texts and chats as token ids, and token by token as text again."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoTokenizer

from featurehub.demo.bundle import bundled_model
from featurehub.errors import InvalidInput
from featurehub.token_ids import prompt_ids, special_ids
from saes.documents import Document, cut, pieces, tokenize

CHAT = [{"role": "user", "content": "tell me about banking ."}, {"role": "assistant", "content": "the loan is good ."}]


def test_a_chat_is_cut_where_the_last_message_begins(tokenizer: Any) -> None:
    [document] = tokenize(tokenizer, [CHAT], max_tokens=500).documents
    prompt, answer = document.token_ids[: document.prompt_len], document.token_ids[document.prompt_len :]
    assert prompt == prompt_ids(tokenizer, CHAT[:1])
    content = list(tokenizer(CHAT[1]["content"], add_special_tokens=False)["input_ids"])
    assert answer[: len(content)] == content
    assert set(answer[len(content) :]) <= set(tokenizer.all_special_ids)


def test_a_long_text_is_several_documents_and_one_too_short_is_counted(tokenizer: Any) -> None:
    made = tokenize(tokenizer, ["the loan " * 22, "", "the", CHAT], max_tokens=20)
    whole = list(tokenizer("the loan " * 22)["input_ids"])
    assert made.documents[:3] == [Document(whole[:20], 16), Document(whole[20:40], 16), Document(whole[40:], 4)]
    assert made.sources[:4] == [0, 0, 0, 3]
    assert made.left_out == "2 of 4 texts are left out: 2 with fewer than two tokens"
    assert tokenize(tokenizer, [CHAT], 500).left_out == ""


@given(length=st.integers(2, 60), max_tokens=st.integers(2, 12), bos=st.booleans())
def test_every_token_is_in_a_document_and_none_is_longer_or_shorter_than_it_may_be(
    length: int, max_tokens: int, bos: bool
) -> None:
    ids = [7 if bos else 100, *range(101, 100 + length)]
    documents = cut(ids, min(3, length), 7, max_tokens)
    assert all(2 <= len(d.token_ids) <= max_tokens and 1 <= d.prompt_len <= len(d.token_ids) for d in documents)
    assert all((d.token_ids[0] == 7) is bos for d in documents)
    body = [token for d in documents for token in (d.token_ids[1:] if bos else d.token_ids)]
    assert [token for i, token in enumerate(body) if token not in body[:i]] == ids[bos:]
    # At most the last but one is read twice.
    assert len(body) - len(ids[bos:]) <= 1


def test_the_answer_of_a_long_chat_keeps_its_prompt_where_both_fit(tokenizer: Any) -> None:
    """The prompt of 20 tokens ends in the second document; the first is a text of its own, and so is the third."""
    ids = list(range(100, 140))
    assert [d.prompt_len for d in cut(ids, 20, None, 18)] == [16, 2, 4]
    assert [len(d.token_ids) for d in cut(ids, 20, None, 18)] == [18, 18, 4]


@pytest.mark.parametrize("roles", [["user"], ["system"], ["system", "user"], ["user", "assistant", "user"]])
def test_a_chat_that_awaits_an_answer_is_a_prompt_as_a_whole(tokenizer: Any, roles: list[str]) -> None:
    chat = [{"role": role, "content": "tell me something ."} for role in roles]
    [document] = tokenize(tokenizer, [chat], 500).documents
    assert document == Document(prompt_ids(tokenizer, chat), len(document.token_ids))


def test_an_answer_to_nothing_is_a_text(tokenizer: Any) -> None:
    [document] = tokenize(tokenizer, [CHAT[1:]], 500).documents
    assert document.prompt_len == len(document.token_ids) == 8


def with_template(template: str) -> Any:
    tokenizer = AutoTokenizer.from_pretrained(bundled_model())
    tokenizer.chat_template = template + tokenizer.chat_template if template else None
    return tokenizer


def test_chats_without_a_template_are_refused_with_what_to_give_instead() -> None:
    bare = with_template("")
    with pytest.raises(InvalidInput, match=r"3 of 3 texts cannot be read: this model has no chat template; give texts"):
        tokenize(bare, [CHAT] * 3, 500)
    made = tokenize(bare, ["the loan is good .", CHAT], 500)
    assert made.sources == [0]
    assert (
        "1 of 2 texts are left out: 1 that cannot be read (the first: this model has no chat template" in made.left_out
    )


TOOLS = "{% for m in messages if 'tool_calls' in m %}{% if m.tool_calls|length != 1 %}{% endif %}{% endfor %}"


@pytest.mark.parametrize(
    ("template", "message", "why"),
    [
        (
            "{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}",
            {"role": "system", "content": "be kind ."},
            "System role not supported",
        ),
        (TOOLS, {"role": "user", "content": "the", "tool_calls": 3}, "has no len"),
        ("{{ messages[0]['nothing'].nothing if messages[0]['role'] == 'system' }}", {"role": "system", "content": "x"},
         "no attribute"),
        ("{{ messages[0]['content'] + 1 if messages[0]['role'] == 'system' }}", {"role": "system", "content": "x"},
         "can only concatenate"),
        (" ", {"role": "wizard", "content": "abracadabra"}, "the demo model knows the roles"),
        (" ", {"role": "user", "content": [{"type": "image", "url": "x"}]}, "parts that are no text"),
    ],
)  # fmt: skip
def test_chats_that_a_template_does_not_take_are_counted_unless_they_are_most(
    template: str, message: dict[str, Any], why: str
) -> None:
    tokenizer, bad = with_template(template), [message, *CHAT]
    made = tokenize(tokenizer, [CHAT, bad, CHAT], 500)
    assert made.sources == [0, 2]
    assert made.unreadable == 1
    assert made.left_out.startswith("1 of 3 texts are left out: 1 that cannot be read (the first: ")
    assert why in made.left_out
    with pytest.raises(InvalidInput, match="2 of 3 texts cannot be read: "):
        tokenize(tokenizer, [bad, CHAT, bad], 500)


def test_half_a_character_is_counted(tokenizer: Any) -> None:
    made = tokenize(tokenizer, ["the loan is good .", "the \ud83d"], 500)
    assert (made.unreadable, made.sources) == (1, [0])


def test_where_no_text_has_two_tokens_that_is_said(tokenizer: Any) -> None:
    with pytest.raises(InvalidInput, match="no text has two tokens: 3 of 3 texts are left out"):
        tokenize(tokenizer, ["", "the", " "], 500)


def test_a_prompt_is_never_empty(tokenizer: Any) -> None:
    """vLLM refuses an empty prompt: where a tokenizer puts nothing before a text, it is the token that begins one."""
    assert tokenizer("")["input_ids"] == []
    assert prompt_ids(tokenizer, "") == [tokenizer.bos_token_id]
    nothing = SimpleNamespace(bos_token_id=None, eos_token_id=None)
    ends = SimpleNamespace(bos_token_id=None, eos_token_id=5)
    assert prompt_ids(Bare(ends), "") == [5]
    with pytest.raises(InvalidInput, match="a prompt is empty"):
        prompt_ids(Bare(nothing), "")


class Bare:
    """A tokenizer that makes nothing of an empty text."""

    def __init__(self, tokens: SimpleNamespace) -> None:
        self.bos_token_id, self.eos_token_id = tokens.bos_token_id, tokens.eos_token_id

    def __call__(self, text: str, **_: Any) -> dict[str, list[int]]:
        return {"input_ids": []}


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
    [document] = tokenize(tokenizer, [CHAT], max_tokens=500).documents
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
