"""Features as the server lists them."""

import html
from collections.abc import Iterable
from typing import Any

from featurehub.features import Feature
from featurehub.groups import FeatureGroup
from featurehub.sdk.groups import group_of, known

__all__ = ["FeatureList", "cell", "feature_of", "page_of"]


class FeatureList(list[Feature]):
    """A list of features; Jupyter shows it as a table.

    Attributes:
        next: Cursor of the page that follows; None on the last page.
        groups: The groups that a search found, best first.
        missing: The indices that were looked up and are of no feature.
    """

    def __init__(
        self, features: Iterable[Feature] = (), next: str | None = None, groups: Iterable[FeatureGroup] = (),
        missing: Iterable[int] = (),
    ) -> None:  # fmt: skip
        super().__init__(features)
        self.next = next
        self.groups = tuple(groups)
        self.missing = tuple(missing)

    def _repr_html_(self) -> str:
        cells = ((each.id, each.label, each.label_score, each.strength, each.state, each.relevance) for each in self)
        rows = "".join(f"<tr>{''.join(f'<td>{cell(value)}</td>' for value in row)}</tr>" for row in cells)
        heads = ("id", "label", "label score", "strength", "state", "relevance")
        return f"<table><tr>{''.join(f'<th>{head}</th>' for head in heads)}</tr>{rows}</table>"


def feature_of(row: Any) -> Feature:
    """A feature from JSON. Unknown keys are left out, since a newer server may send more."""
    return Feature(**known(Feature, row))


def page_of(body: Any) -> FeatureList:
    """A list of features from JSON."""
    groups = map(group_of, body.get("groups", ()))
    return FeatureList(map(feature_of, body["data"]), body.get("next"), groups, body.get("missing", ()))


def cell(value: object) -> str:
    if value is None:
        return ""
    return html.escape(f"{value:.3g}" if isinstance(value, float) else str(value))
