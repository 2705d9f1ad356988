"""What features do in a chat, as ``client.features.inspect`` returns it: token by token, and in the whole."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any, Literal, NamedTuple, TypedDict

from featurehub.sdk.named import Named
from featurehub.sdk.notices import warnings_of
from featurehub.sdk.tables import marked, table
from featurehub.totals import TotalActivation

__all__ = ["FeatureActivation", "InspectOptions", "InspectedToken", "Inspection", "inspect_body"]


class InspectOptions(TypedDict, total=False):
    """What ``inspect`` asks for.

    Attributes:
        sae: The only SAE that is asked, by its id, name or alias; by default all that are served.
        features: Features or their names whose activations every token shows, active or not; at most 64.
        top_k: How many of its strongest features each token shows, in [1, 64].
        by: What the strongest features of the whole have most of.
        limit: How many of them are returned, in [1, 1000].
        model: As in a chat completion.
        on_stale: "warn" reads a stale feature all the same, "refuse" raises; by default as the server does.
    """

    sae: str
    features: Named | Iterable[Named]
    top_k: int
    by: Literal["mean", "max", "sum", "frequency"]
    limit: int
    model: str
    on_stale: Literal["warn", "refuse"]


class FeatureActivation(NamedTuple):
    """What a feature does at one token.

    >>> loan = client.features.inspect("my loan").tokens[2].features[0]
    >>> loan.label, loan.activation
    ('banking: loan, deposit', 1.0)

    Attributes:
        id: The feature's id, or ``sae:<artifact>/<latent>`` for a latent without a label.
        label: Its label; "" where it has none.
        activation: Its raw activation.
    """

    id: str
    label: str
    activation: float


class InspectedToken(NamedTuple):
    """A token and its features.

    >>> client.features.inspect("my loan").tokens[2].text
    ' loan'

    Attributes:
        position: Its index in the chat.
        text: The text that it adds.
        content: Whether it is somebody's words: no special token, and none that the chat template adds.
        features: Its features in all SAEs that were asked, strongest first within each.
    """

    position: int
    text: str
    content: bool
    features: tuple[FeatureActivation, ...]

    def top(self, n: int = 5) -> tuple[FeatureActivation, ...]:
        """The ``n`` strongest of its features.

        >>> client.features.inspect("my loan").tokens[2].top(1)[0].label
        'banking: loan, deposit'
        """
        return tuple(sorted(self.features, key=lambda each: -each.activation)[:n])


class Inspection:
    """What features do in a chat or text. Jupyter shows it as a heat map with its strongest features.

    >>> found = client.features.inspect("a formal loan")
    >>> [token.text for token in found if token.features]
    [' formal', ' loan']

    Attributes:
        tokens: The tokens in their order.
        warnings: What the server warned of.
    """

    def __init__(self, body: Any) -> None:
        rows = sorted(body["tokens"], key=lambda row: row["position"])
        self.tokens = tuple(token_of([*own]) for _, own in groupby(rows, lambda row: row["position"]))
        self.warnings: tuple[str, ...] = warnings_of(body)
        self._top = tuple(TotalActivation.model_validate(row, extra="ignore") for row in body["top"])

    def top(self, n: int = 5) -> tuple[TotalActivation, ...]:
        """The ``n`` strongest features of the whole, by what was asked for, strongest first.

        >>> found = client.features.inspect("a formal loan", by="max")
        >>> sorted(each.label for each in found.top(2))
        ['banking: loan, deposit', 'formal']
        """
        return self._top[:n]

    def matrix(self) -> tuple[tuple[str, ...], list[list[float]]]:
        """The activations of all tokens.

        >>> ids, rows = client.features.inspect("my loan").matrix()
        >>> rows
        [[0.0], [0.0], [1.0]]

        Returns:
            Ids of the features that any token shows, and for each token a row with their activations: 0 where a token
            does not show the feature.
        """
        ids = tuple(dict.fromkeys(each.id for token in self.tokens for each in token.features))
        own = [{each.id: each.activation for each in token.features} for token in self.tokens]
        return ids, [[row.get(id, 0.0) for id in ids] for row in own]

    def __len__(self) -> int:
        return len(self.tokens)

    def __iter__(self) -> Iterator[InspectedToken]:
        return iter(self.tokens)

    def _repr_html_(self) -> str:
        strengths = [self._strength(token) for token in self.tokens]
        text = marked([token.text for token in self.tokens], strengths, [title_of(token) for token in self.tokens])
        rows = [(each.label or each.id, each.frequency, each.mean, each.max) for each in self._top]
        return text + table(("feature", "frequency", "mean", "max"), rows)

    def _strength(self, token: InspectedToken) -> float:
        """The activation of the strongest feature of the whole at a token."""
        if not self._top or not token.content:
            return 0.0
        return next((each.activation for each in token.features if each.id == self._top[0].id), 0.0)


def inspect_body(chat: str | Sequence[Mapping[str, Any]], options: Mapping[str, Any]) -> dict[str, Any]:
    """The body of the request: a text, or the messages of a chat."""
    return {"text" if isinstance(chat, str) else "messages": chat, **options}


def token_of(rows: Sequence[Mapping[str, Any]]) -> InspectedToken:
    """A token from the server's rows, one for each SAE."""
    found = (FeatureActivation(f["id"], f["label"], f["activation"]) for row in rows for f in row["features"])
    first = rows[0]
    return InspectedToken(first["position"], first["token"], first["content"], tuple(found))


def title_of(token: InspectedToken) -> str:
    """The strongest features of a token."""
    return ", ".join(f"{each.label or each.id} {each.activation:.3g}" for each in token.top(3))
