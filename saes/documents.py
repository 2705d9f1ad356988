"""Texts and chats as token ids."""

import hashlib
from array import array
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from featurehub.pieces import pieces
from saes.texts import Message

__all__ = ["Document", "count_tokens", "ordinary", "pieces", "prompt_ids", "special_ids", "text_hash", "tokenize"]

TEXT_PROMPT_TOKENS = 16


class Document(NamedTuple):
    """token_ids as the model sees them.

    prompt_len: how many tokens a model is given when it shall write this document's kind: of a chat, all before the
                last message; of a text, the first few
    """

    token_ids: list[int]
    prompt_len: int


def count_tokens(documents: Iterable[Document], special: Collection[int] = ()) -> int:
    """All but the special ones."""
    return sum(ordinary(document, special) for document in documents)


def ordinary(document: Document, special: Collection[int]) -> int:
    """How many of its tokens are not special."""
    return sum(token not in special for token in document.token_ids) if special else len(document.token_ids)


def text_hash(documents: Sequence[Document]) -> str:
    """sha256 over the lengths and token ids of all documents, in their order."""
    digest = hashlib.sha256()
    for document in documents:
        digest.update(array("q", [len(document.token_ids), *document.token_ids]).tobytes())
    return digest.hexdigest()


def tokenize(tokenizer: Any, entries: Sequence[str | list[Message]], max_tokens: int) -> Iterator[Document]:
    """Each entry cut to its first ``max_tokens`` tokens; entries of fewer than two tokens are left out."""
    for entry in entries:
        ids, prompt_len = encode(tokenizer, entry)
        if len(ids) > 1:
            yield Document(ids[:max_tokens], min(prompt_len, max_tokens))


def encode(tokenizer: Any, entry: str | list[Message]) -> tuple[list[int], int]:
    """Token ids and prompt length."""
    if isinstance(entry, str):
        ids = list(tokenizer(entry)["input_ids"])
        return ids, min(TEXT_PROMPT_TOKENS, len(ids))
    return chat_ids(tokenizer, entry), len(chat_ids(tokenizer, entry[:-1], add_generation_prompt=True))


def prompt_ids(tokenizer: Any, prompt: str | list[Message]) -> list[int]:
    """What the model is given when it shall answer: a chat up to the assistant's turn, or the text itself."""
    if isinstance(prompt, str):
        return list(tokenizer(prompt)["input_ids"])
    return chat_ids(tokenizer, prompt, add_generation_prompt=True)


def chat_ids(tokenizer: Any, messages: Sequence[Message], **options: bool) -> list[int]:
    return list(tokenizer.apply_chat_template(messages, tokenize=True, return_dict=True, **options)["input_ids"])


def special_ids(tokenizer: Any) -> frozenset[int]:
    """Tokens that are no text: BOS and its like, and what a chat template marks turns with."""
    marks = (i for i, token in tokenizer.added_tokens_decoder.items() if token.special)
    return frozenset(tokenizer.all_special_ids).union(marks)
