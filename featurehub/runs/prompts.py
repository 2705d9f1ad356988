"""The prompts that strengths are calibrated on if the user gives none: the beginnings of some of the texts."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from transformers import AutoTokenizer

from featurehub.artifacts.fingerprint import read_config
from featurehub.errors import InvalidInput, ModelNotFound
from featurehub.token_ids import Entry, Message, prompt_ids, text_ids

__all__ = ["beginnings"]

PROMPTS = 12
"""About how many prompts are taken."""
TEXT_TOKENS = 6
"""Tokens taken of a text: enough for the model to continue it, few enough to leave most of it to the model."""
MESSAGE_TOKENS = 64
"""Most tokens taken of each message: what a small model has room for besides its answer."""


def beginnings(model: Path, entries: Sequence[Entry]) -> list[Entry]:
    """A few prompts: the first tokens of texts, and chats up to their first question.

    Empty texts, chats without a user message, and chats that the model's chat template rejects are skipped.

    Args:
        model: Folder of the model, whose tokenizer defines what a token is.
        entries: Texts and chats.

    Returns:
        Up to 23 prompts, taken evenly from the whole text, none of which is empty or longer than a few hundred tokens.

    Raises:
        ModelNotFound: The folder holds no tokenizer.
        InvalidInput: No entry begins with a prompt.
    """
    tokenizer = tokenizer_of(model)
    usable = [entry for entry in entries if begins(entry)]
    found, reasons = prompts_of(tokenizer, usable[:: max(1, len(usable) // PROMPTS)])
    if not found:
        why = reasons[0] if reasons else "they are empty, or chats without a message of the user"
        raise InvalidInput(f"none of {len(entries):,} texts begins with a prompt: {why}", param="text")
    return found


def tokenizer_of(model: Path) -> Any:
    """Raises ModelNotFound, InvalidInput."""
    read_config(model)  # transformers asks the Hugging Face hub for anything that is not a folder
    try:
        return AutoTokenizer.from_pretrained(model)
    except (OSError, ValueError, KeyError) as error:
        raise ModelNotFound(f"the tokenizer in {model} cannot be read: {error}", param="model") from None


def begins(entry: Entry) -> bool:
    """Whether there is something to go on from."""
    if isinstance(entry, str):
        return bool(entry.strip())
    return any(message["role"] == "user" and message["content"] for message in entry)


def prompts_of(tokenizer: Any, entries: Sequence[Entry]) -> tuple[list[Entry], list[str]]:
    """The prompts, and for each entry that gives none, why."""
    found, reasons = [], []
    for entry in entries:
        try:
            prompt = beginning(tokenizer, entry)
            prompt_ids(tokenizer, prompt)
        except InvalidInput as error:
            reasons.append(error.message)
        else:
            found.append(prompt)
    return found, reasons


def beginning(tokenizer: Any, entry: Entry) -> Entry:
    """Raises InvalidInput."""
    if isinstance(entry, str):
        return first_tokens(tokenizer, entry.lstrip(), TEXT_TOKENS)
    question = next(i for i, message in enumerate(entry) if message["role"] == "user")
    return [shortened(tokenizer, message) for message in entry[: question + 1]]


def shortened(tokenizer: Any, message: Message) -> Message:
    content = message["content"]
    return (
        message | {"content": first_tokens(tokenizer, content, MESSAGE_TOKENS)} if isinstance(content, str) else message
    )


def first_tokens(tokenizer: Any, text: str, count: int) -> str:
    """The part of the text that its first ``count`` tokens cover, in whole characters."""
    text = text[: 100 * count]  # tokens are no longer than that; a book need not be read to its end
    text_ids(tokenizer, text)  # raises InvalidInput for what is not text
    offsets = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True, verbose=False)["offset_mapping"]
    return text[: offsets[count - 1][1]] if len(offsets) > count else text
