"""Which features made a token likely, as ``client.features.attribute`` returns it."""

from collections import defaultdict
from collections.abc import Mapping
from typing import Any, NamedTuple, TypedDict

from featurehub.attribution import AttributedFeature
from featurehub.next_tokens import NextToken
from featurehub.sdk.logits import tokens_of
from featurehub.sdk.notices import warnings_of
from featurehub.sdk.tables import marked, table

__all__ = ["AttributeOptions", "Attribution"]


class AttributeOptions(TypedDict, total=False):
    """What ``attribute`` asks for.

    Attributes:
        position: Index of the token to explain, at least 2; the number of tokens is the one that would come next. By
            default the last token that is somebody's words or, of a chat that ends with the user, the first of the
            answer.
        target: The token whose likelihood is explained, as text (" cook") or id; by default the one that stands there,
            and of one that is to come the likeliest.
        versus: The token that it is compared with; by default all others.
        sae: The only SAE that is asked, by its id, name or alias; by default all that are served.
        candidates: How many features are ablated, in [1, 256].
        limit: How many of them are returned, in [1, 256].
        tokens: At how many tokens each of these is ablated by itself, in [0, 16].
        model: As in a chat completion.
    """

    position: int
    target: str | int
    versus: str | int
    sae: str
    candidates: int
    limit: int
    tokens: int
    model: str


class Attribution(NamedTuple):
    """Which features made a token likely, of the model without any steering. Jupyter shows it as a table.

    >>> found = client.features.attribute(chat)
    >>> because = [(each.label, each.effect) for each in found.features]

    Attributes:
        position: Index of the token.
        tokens: The texts of the tokens before it.
        target: The token, with its log-probability.
        versus: The token that it is compared with; None where that is all others.
        features: The features with the strongest effects, strongest first. Their effects were measured, by ablating
            each; those below 0 held the token back.
        active: How many features are active at the tokens before it, but for the first.
        measured: How many of them were ablated: the others' effects are not known.
        warnings: What the server warned of.
    """

    position: int
    tokens: tuple[str, ...]
    target: NextToken
    versus: NextToken | None
    features: tuple[AttributedFeature, ...]
    active: int
    measured: int
    warnings: tuple[str, ...] = ()

    @classmethod
    def of(cls, body: Any) -> "Attribution":
        """What the server has answered."""
        return cls(
            position=body["position"],
            tokens=tuple(body["tokens"]),
            target=tokens_of([body["target"]])[0],
            versus=tokens_of([body["versus"]])[0] if body["versus"] else None,
            features=tuple(map(feature_of, body["features"])),
            active=body["active"],
            measured=body["measured"],
            warnings=warnings_of(body),
        )

    def _repr_html_(self) -> str:
        effects, titles = defaultdict[int, float](float), defaultdict[int, list[str]](list)
        for feature in self.features:
            for each in feature.tokens:
                effects[each.position] += each.effect
                titles[each.position].append(f"{feature.label or feature.id} {each.effect:+.3g}")
        at = range(len(self.tokens))
        text = marked(self.tokens, [effects[i] for i in at], [", ".join(titles[i]) for i in at])
        versus = f" rather than {self.versus.text!r}" if self.versus else ""
        rows = [(each.label or each.id, each.effect, each.score) for each in self.features]
        heads = (f"why {self.target.text!r}{versus}", "effect (nats)", "score")
        return f"{text}{table(heads, rows)}"


def feature_of(row: Mapping[str, Any]) -> AttributedFeature:
    """A feature from JSON. Unknown keys are left out, since a newer server may send more."""
    return AttributedFeature.model_validate(row, extra="ignore")
