"""Texts and chats as token ids."""

import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from featurehub.errors import InvalidInput

__all__ = ["Document", "Message", "document_of", "read_texts", "tokenize"]

MAX_FILE_BYTES = 2 << 30
TEXT_PROMPT_TOKENS = 16
# How tokenizers write a space, a newline, and a byte that is no character of its own.
SPACES = str.maketrans({"▁": " ", "Ġ": " ", "Ċ": "\n"})
BYTE = re.compile(r"^<0x([0-9A-F]{2})>$")
Message = dict[str, str]


class Document(NamedTuple):
    """token_ids as the model sees them; ``words[i]`` is the text that token i stands for, "" for special tokens.

    prompt_len: how many tokens a model is given when it shall write this document's kind: of a chat, all before the
                last message; of a text, the first few
    """

    token_ids: list[int]
    words: list[str]
    prompt_len: int

    @property
    def text(self) -> str:
        return "".join(self.words).strip()

    @property
    def answer(self) -> str:
        """The text after the prompt."""
        return "".join(self.words[self.prompt_len :]).strip()


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
            return [json.loads(line) for line in text.splitlines() if line.strip()]
    except ValueError as error:
        raise InvalidInput(f"{path} cannot be read: {error}", param="text") from None
    return [paragraph for paragraph in text.split("\n\n") if paragraph.strip()]


def text_of(entry: Any, path: Path) -> str | list[Message]:
    if isinstance(entry, dict):
        entry = entry.get("messages", entry.get("text"))
    if isinstance(entry, str | list):
        return entry
    kinds = 'a string, {"text": …} or {"messages": […]}'
    raise InvalidInput(f"{path}: an entry must be {kinds}, not {entry!r:.80}", param="text")


def tokenize(tokenizer: Any, entries: Sequence[str | list[Message]], max_tokens: int) -> Iterator[Document]:
    """Each entry cut to its first ``max_tokens`` tokens; entries of fewer than two tokens are left out."""
    for entry in entries:
        ids, prompt_len = encode(tokenizer, entry)
        if len(ids) > 1:
            yield document_of(tokenizer, ids[:max_tokens], min(prompt_len, max_tokens))


def document_of(tokenizer: Any, token_ids: list[int], prompt_len: int) -> Document:
    """The document of these tokens, with the text of each."""
    return Document(token_ids, pieces(tokenizer, token_ids), prompt_len)


def encode(tokenizer: Any, entry: str | list[Message]) -> tuple[list[int], int]:
    """Token ids and prompt length."""
    if isinstance(entry, str):
        ids = list(tokenizer(entry)["input_ids"])
        return ids, min(TEXT_PROMPT_TOKENS, len(ids))
    return chat_ids(tokenizer, entry), len(chat_ids(tokenizer, entry[:-1], add_generation_prompt=True))


def chat_ids(tokenizer: Any, messages: Sequence[Message], **options: bool) -> list[int]:
    return list(tokenizer.apply_chat_template(messages, tokenize=True, return_dict=True, **options)["input_ids"])


def pieces(tokenizer: Any, ids: Sequence[int]) -> list[str]:
    """The text of every token, with its leading space where it has one."""
    special = frozenset(tokenizer.all_special_ids)
    return [
        "" if token in special else BYTE.sub(lambda found: chr(int(found[1], 16)), piece.translate(SPACES))
        for token, piece in zip(ids, tokenizer.convert_ids_to_tokens(list(ids)), strict=True)
    ]
