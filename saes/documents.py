"""Texts and chats as token ids."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from tokenizers.decoders import DecodeStream

from featurehub.errors import InvalidInput

__all__ = ["Document", "Message", "pieces", "prompt_ids", "read_texts", "special_ids", "tokenize"]

MAX_FILE_BYTES = 2 << 30
TEXT_PROMPT_TOKENS = 16
Message = dict[str, str]


class Document(NamedTuple):
    """token_ids as the model sees them.

    prompt_len: how many tokens a model is given when it shall write this document's kind: of a chat, all before the
                last message; of a text, the first few
    """

    token_ids: list[int]
    prompt_len: int


def read_texts(path: Path) -> list[str | list[Message]]:
    """Texts or chats from ``.json`` (a list), ``.jsonl`` (a line each) or ``.txt`` (paragraphs).

    An entry is a string, ``{"text": …}`` or ``{"messages": [{"role", "content"}, …]}``. Raises InvalidInput.
    """
    if not path.is_file():
        raise InvalidInput(f"no text file {path}", param="text")
    if path.stat().st_size > MAX_FILE_BYTES:
        raise InvalidInput(f"{path} is larger than {MAX_FILE_BYTES >> 30} GiB; split it", param="text")
    entries = [text_of(entry, path) for entry in read_entries(path)]
    if not entries:
        raise InvalidInput(f"{path} holds no text", param="text")
    return entries


def read_entries(path: Path) -> list[Any]:
    try:
        text = path.read_text(encoding="utf-8")
        if path.suffix == ".json":
            parsed = json.loads(text)
            return parsed if isinstance(parsed, list) else [parsed]
        if path.suffix == ".jsonl":
            return [json.loads(line) for line in text.split("\n") if line.strip()]
    except ValueError as error:
        raise InvalidInput(f"{path} cannot be read: {error}", param="text") from None
    return [paragraph for paragraph in text.split("\n\n") if paragraph.strip()]


def text_of(entry: Any, path: Path) -> str | list[Message]:
    if isinstance(entry, dict):
        entry = entry.get("messages", entry.get("text"))
    if isinstance(entry, str) or is_chat(entry):
        return entry
    kinds = 'a string, {"text": …} or {"messages": […]}'
    raise InvalidInput(f"{path}: an entry must be {kinds}, not {entry!r:.80}", param="text")


def is_chat(entry: Any) -> bool:
    return isinstance(entry, list) and bool(entry) and all(map(is_message, entry))


def is_message(message: Any) -> bool:
    return isinstance(message, dict) and all(isinstance(message.get(key), str) for key in ("role", "content"))


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


def pieces(tokenizer: Any, token_ids: Sequence[int]) -> list[str]:
    """The text that every token adds, so that joined they are the text; "" for special tokens.

    A token that only begins a character adds nothing; the one that completes it adds the character.
    """
    stream = DecodeStream(skip_special_tokens=True)
    return [stream.step(tokenizer.backend_tokenizer, token) or "" for token in token_ids]
