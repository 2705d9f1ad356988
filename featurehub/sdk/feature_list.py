"""Features as the server lists them."""

from collections.abc import Iterable
from typing import Any

from featurehub.features import Feature
from featurehub.groups import FeatureGroup
from featurehub.sdk.groups import group_of
from featurehub.sdk.rows import known
from featurehub.sdk.tables import table

__all__ = ["FeatureList", "feature_of", "page_of"]


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
        heads = ("id", "label", "label score", "strength", "state", "relevance")
        return table(
            heads, [(each.id, each.label, each.label_score, each.strength, each.state, each.relevance) for each in self]
        )


def feature_of(row: Any) -> Feature:
    """A feature from JSON. Unknown keys are left out, since a newer server may send more."""
    return Feature(**known(Feature, row))


def page_of(body: Any) -> FeatureList:
    """A list of features from JSON."""
    groups = map(group_of, body.get("groups", ()))
    return FeatureList(map(feature_of, body["data"]), body.get("next"), groups, body.get("missing", ()))
