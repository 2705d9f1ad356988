"""Tokens that may come next: what a request calls them, and what an answer says of them."""

from collections.abc import Mapping, Sequence
from typing import Annotated

from pydantic import Field

from api.engine import SteeringEngine
from api.request import Name
from featurehub.errors import InvalidInput
from featurehub.next_tokens import NextToken

__all__ = ["Token", "next_tokens", "token_id"]

Token = Name | Annotated[int, Field(ge=0, strict=True)]
"""A token in a request: its text, as it stands behind other text (" cook"), or its id."""
BEFORE = 4
"""How many of the tokens before decide which text a token adds."""


def token_id(token: str | int, param: str, engine: SteeringEngine) -> int:
    """The id of a token that a request names.

    Args:
        token: Its text or id.
        param: The key of the body in which it stands.
        engine: Knows the tokens.

    Raises:
        InvalidInput: The text is not one token.
    """
    if isinstance(token, int):
        return token
    ids = engine.token_ids(token)
    if len(ids) != 1:
        parts = ", ".join(f"{text!r} ({id})" for text, id in zip(engine.pieces(ids), ids, strict=True))
        raise InvalidInput(f"{token!r} is {len(ids)} tokens: {parts}; give one of them or its id", param=param)
    return ids[0]


def next_tokens(ids: Sequence[int], logprobs: Mapping[int, float], engine: SteeringEngine) -> tuple[NextToken, ...]:
    """The tokens with their texts behind those that were read, in the same order."""
    before = list(ids[-BEFORE:])
    texts = (engine.pieces([*before, token])[-1] for token in logprobs)
    return tuple(
        NextToken(id=token, text=text, logprob=logprob)
        for (token, logprob), text in zip(logprobs.items(), texts, strict=True)
    )
