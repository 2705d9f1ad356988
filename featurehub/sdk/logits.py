"""How likely the next tokens of a chat are, as ``client.features.logits`` returns it."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple, TypedDict

from featurehub.features import SteerOptions
from featurehub.next_tokens import NextToken
from featurehub.sdk.notices import warnings_of
from featurehub.sdk.request import Features, Model, steered
from featurehub.sdk.tables import table

__all__ = ["Logits", "LogitsOptions", "logits_body", "tokens_of"]


class LogitsOptions(TypedDict, total=False):
    """What ``logits`` asks for.

    Attributes:
        model: A variant, or as in a chat completion.
        features: As in a chat completion.
        steer: As in a chat completion.
        top_k: How many of the likeliest tokens are returned; at most 20, unless the server was started with more.
        tokens: Tokens that are returned besides, as text (" cook") or id; at most 32.
    """

    model: Model
    features: Features
    steer: Mapping[str, str] | SteerOptions
    top_k: int
    tokens: Sequence[str | int]


class Logits(NamedTuple):
    """The likeliest next tokens. Jupyter shows them as a table.

    >>> found = client.features.logits(chat, features={"pirate": 0.7})
    >>> likeliest = found.tokens[0].text, found.unsteered[0].text

    Attributes:
        tokens: Those under the features of the request, likeliest first, then those that were asked for.
        unsteered: The same without features; None where the request has none.
        warnings: What the server warned of.
    """

    tokens: tuple[NextToken, ...]
    unsteered: tuple[NextToken, ...] | None
    warnings: tuple[str, ...] = ()

    @classmethod
    def of(cls, body: Any) -> "Logits":
        """What the server has answered."""
        without = body["unsteered"]
        return cls(
            tokens_of(body["tokens"]),
            None if without is None else tokens_of(without),
            warnings_of(body),
        )

    def _repr_html_(self) -> str:
        without = {each.id: each for each in self.unsteered or ()}
        shown = {each.id: each.text for each in (*self.tokens, *(self.unsteered or ()))}
        steered = {each.id: each for each in self.tokens}
        rows = [
            (repr(text), *(each.logprob if each else None for each in (steered.get(id), without.get(id))))
            for id, text in shown.items()
        ]
        if self.unsteered is None:
            return table(("token", "log-probability"), [row[:2] for row in rows])
        return table(("token", "log-probability", "without features"), rows)


def tokens_of(rows: Iterable[Any]) -> tuple[NextToken, ...]:
    """Next tokens from JSON."""
    return tuple(NextToken.model_validate(row, extra="ignore") for row in rows)


def logits_body(options: LogitsOptions) -> dict[str, Any]:
    """The options as JSON types. Raises InvalidEdit where an edit is not valid."""
    body = steered(dict(options))
    return body.pop("extra_body", {}) | body
