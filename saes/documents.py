"""Documents: texts and chats as token ids, cut to what is read at once."""

import hashlib
from array import array
from collections.abc import Collection, Iterable, Sequence
from typing import Any, NamedTuple

from featurehub.errors import InvalidInput
from featurehub.pieces import pieces
from featurehub.token_ids import Entry, chat_ids, text_ids

__all__ = [
    "Document",
    "Tokenization",
    "count_tokens",
    "ordinary",
    "pieces",
    "text_hash",
    "tokenize",
]

TEXT_PROMPT_TOKENS = 16


class Document(NamedTuple):
    """A text or chat, or a part of one, as token ids.

    Attributes:
        token_ids: The ids as the model sees them, special tokens included.
        prompt_len: How many of the first tokens a model is given when it is to write the rest, at least one: all before
            the answer of a chat, the first few of a text.
    """

    token_ids: list[int]
    prompt_len: int


def count_tokens(documents: Iterable[Document], special: Collection[int] = ()) -> int:
    """Returns how many tokens the documents have in all, not counting special ones.

    Args:
        documents: The documents.
        special: Token ids that do not count.
    """
    return sum(ordinary(document, special) for document in documents)


def ordinary(document: Document, special: Collection[int]) -> int:
    """Returns how many of a document's tokens count (``saes.reader.read_tokens``): all, if none is called special."""
    return sum(token not in special for token in document.token_ids[1:]) if special else len(document.token_ids)


def text_hash(documents: Sequence[Document]) -> str:
    """Returns the sha256 over the lengths and token ids of all documents, in their order."""
    digest = hashlib.sha256()
    for document in documents:
        digest.update(array("q", [len(document.token_ids), *document.token_ids]).tobytes())
    return digest.hexdigest()


class Tokenization(NamedTuple):
    """Entries as documents, and what was left out.

    Attributes:
        documents: The documents, in the order of their entries.
        sources: For each document, the index of its entry.
        entries: How many entries there were.
        short: How many of them have fewer than two tokens.
        unreadable: How many of them the tokenizer or its chat template does not take.
        why: The error of the first unreadable one; "" if there is none.
    """

    documents: list[Document]
    sources: list[int]
    entries: int
    short: int
    unreadable: int
    why: str

    @property
    def left_out(self) -> str:
        """What was left out, in words; "" if every entry was read."""
        short = [f"{self.short:,} with fewer than two tokens"] if self.short else []
        unreadable = [f"{self.unreadable:,} that cannot be read (the first: {self.why})"] if self.unreadable else []
        left, parts = self.short + self.unreadable, ", ".join(short + unreadable)
        return f"{left:,} of {self.entries:,} texts are left out: {parts}" if left else ""

    def check(self) -> None:
        """Checks that enough entries were read.

        Raises:
            InvalidInput: If most entries are unreadable, or no document is left.
        """
        if 2 * self.unreadable > self.entries:
            raise InvalidInput(
                f"{self.unreadable:,} of {self.entries:,} texts cannot be read: {self.why}", param="text"
            )
        if not self.documents:
            raise InvalidInput(f"no text has two tokens: {self.left_out}", param="text")


def tokenize(tokenizer: Any, entries: Sequence[Entry], max_tokens: int) -> Tokenization:
    """Turns entries into documents, cutting entries of more than ``max_tokens`` tokens into several.

    Entries that cannot be read, mostly chats that the tokenizer's template does not take, and entries of fewer than two
    tokens are left out and counted.

    Args:
        tokenizer: A tokenizer of transformers.
        entries: Texts and chats.
        max_tokens: Most tokens of a document.

    Raises:
        InvalidInput: If most entries cannot be read, or none has two tokens.
    """
    documents, sources, short, reasons = [], [], 0, []
    shared: dict[int, int] = {}  # one object per id, not per token: a long text takes a quarter of the memory
    for number, entry in enumerate(entries):
        try:
            ids, prompt_len = encode(tokenizer, entry)
        except InvalidInput as error:
            reasons.append(error.message)
            continue
        found = cut([shared.setdefault(i, i) for i in ids], prompt_len, tokenizer.bos_token_id, max_tokens)
        documents += found
        sources += [number] * len(found)
        short += not found
    made = Tokenization(documents, sources, len(entries), short, len(reasons), reasons[0] if reasons else "")
    made.check()
    return made


def cut(token_ids: list[int], prompt_len: int, bos: int | None, max_tokens: int) -> list[Document]:
    """Returns documents of ``max_tokens`` tokens and one of the remaining tokens, but none of fewer than two tokens.

    Each begins with the token that begins the entry, if that is BOS: models put what they have no other place for on
    the first token, whatever it is. The last message of a chat keeps its prompt if that lies in the same document;
    in any other document, the first few tokens are the prompt.
    """
    if len(token_ids) < 2:
        return []
    if len(token_ids) <= max_tokens:
        return [Document(token_ids, prompt_len)]
    opening = token_ids[:1] if token_ids[0] == bos else []
    room, documents = max_tokens - len(opening), []
    for start in range(len(opening), len(token_ids), room):
        # A remainder of one token takes the token before it along.
        first = start if opening else min(start, len(token_ids) - 2)
        ids = opening + token_ids[first : start + room]
        prompt = prompt_len - first + len(opening)
        within = len(opening) < prompt < len(ids)
        documents.append(Document(ids, prompt if within else min(TEXT_PROMPT_TOKENS, len(ids))))
    return documents


def encode(tokenizer: Any, entry: Entry) -> tuple[list[int], int]:
    """Returns an entry's token ids and prompt length; a chat that does not end with an answer is a prompt as a whole.

    Raises:
        InvalidInput: If the entry cannot be read.
    """
    if isinstance(entry, str):
        ids = text_ids(tokenizer, entry)
        return ids, min(TEXT_PROMPT_TOKENS, len(ids))
    if entry[-1]["role"] != "assistant":
        ids = chat_ids(tokenizer, entry, add_generation_prompt=True)
        return ids, len(ids)
    ids, asked = chat_ids(tokenizer, entry), entry[:-1]
    prompt_len = len(chat_ids(tokenizer, asked, add_generation_prompt=True)) if asked else TEXT_PROMPT_TOKENS
    return ids, min(prompt_len, len(ids))
