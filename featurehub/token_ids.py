"""Texts and chats as token ids, as a model is given them."""

from collections.abc import Sequence
from typing import Any

from jinja2 import TemplateError

from featurehub.errors import InvalidInput

__all__ = ["RENDERING", "Entry", "Message", "chat_ids", "prompt_ids", "special_ids", "text_ids"]

Message = dict[str, Any]
"""``role``, a string, and ``content``, a string; or a list if some parts are not text: such a chat is not read."""
Entry = str | list[Message]
"""A text, or the messages of a chat."""
RENDERING = (TemplateError, ValueError, TypeError, LookupError, AttributeError)
"""What templates raise on purpose, and the Python errors that come through if a key is absent or null."""


def prompt_ids(tokenizer: Any, prompt: Entry) -> list[int]:
    """Returns the token ids that a model is given when it is to answer: a chat up to the assistant's turn, or the text.

    They are never empty: where a tokenizer puts no token before a text, an empty text becomes the token that begins a
    text or, as in GPT-2's training, the token that ends the text before it.

    Args:
        tokenizer: A tokenizer of transformers.
        prompt: A text or chat.

    Raises:
        InvalidInput: If the prompt cannot be read, or is empty and the tokenizer has neither of these tokens.
    """
    if not isinstance(prompt, str):
        return chat_ids(tokenizer, prompt, add_generation_prompt=True)
    starts = [token for token in (tokenizer.bos_token_id, tokenizer.eos_token_id) if token is not None]
    ids = text_ids(tokenizer, prompt) or starts[:1]
    if not ids:
        raise InvalidInput("a prompt is empty, and this tokenizer has no token that begins a text", param="prompt")
    return ids


def text_ids(tokenizer: Any, text: str, *, special: bool = True) -> list[int]:
    """Returns the token ids of a text.

    Args:
        tokenizer: A tokenizer of transformers.
        text: The text.
        special: Whether the special tokens are among them that the tokenizer puts around a text.

    Raises:
        InvalidInput: If the text holds half a character.
    """
    try:
        # verbose: it warns of texts longer than the model reads
        return list(tokenizer(text, add_special_tokens=special, verbose=False)["input_ids"])
    except TypeError:
        raise InvalidInput("it holds half a character (a surrogate without its other half)", param="text") from None


def chat_ids(tokenizer: Any, messages: Sequence[Message], **options: bool) -> list[int]:
    """Returns the token ids of a chat, rendered by the model's chat template.

    Raises:
        InvalidInput: If the chat cannot be rendered.
    """
    if not tokenizer.chat_template:
        raise InvalidInput(
            'this model has no chat template; give texts, such as {"text": …}, or a folder of the model that has a '
            "chat_template.jinja",
            param="text",
        )
    if not all(isinstance(message["content"], str) for message in messages):
        raise InvalidInput("it has messages with parts that are no text", param="text")
    try:
        rendered = tokenizer.apply_chat_template(
            messages, tokenize=True, return_dict=True, tokenizer_kwargs={"verbose": False}, **options
        )
    except RENDERING as error:
        raise InvalidInput(f"the model's chat template does not take it: {error}", param="text") from None
    return list(rendered["input_ids"])


def special_ids(tokenizer: Any) -> frozenset[int]:
    """Returns the ids of tokens that are not text, such as BOS and the marks of a chat's turns."""
    marks = (i for i, token in tokenizer.added_tokens_decoder.items() if token.special)
    return frozenset(tokenizer.all_special_ids).union(marks)
