"""Tokens of texts and chats, as ``client.tokenize`` returns them. vLLM's own route answers, beside OpenAI's."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

__all__ = ["TextToken", "tokenize_body", "tokenize_url", "tokens_of"]


class TextToken(NamedTuple):
    """A token.

    >>> last = client.tokenize(chat)[-1]
    >>> named = last.id, last.name

    Attributes:
        id: Its id.
        name: What the vocabulary calls it, such as "Ġcook" for " cook".
    """

    id: int
    name: str


def tokenize_url(base_url: object) -> str:
    """The address of the route, beside ``/v1``."""
    return f"{str(base_url).rstrip('/').removesuffix('/v1')}/tokenize"


def tokenize_body(chat: str | Sequence[Mapping[str, Any]], model: str | None) -> dict[str, Any]:
    """What is sent: the chat is rendered as ``inspect`` and ``attribute`` count its positions."""
    asked = {"prompt": chat} if isinstance(chat, str) else {"messages": chat, "add_generation_prompt": False}
    return {**asked, "return_token_strs": True} | ({} if model is None else {"model": model})


def tokens_of(body: Any) -> tuple[TextToken, ...]:
    return tuple(map(TextToken, body["tokens"], body["token_strs"]))
