"""Features as the server lists them."""

from collections.abc import Iterable, Sequence
from typing import Any, overload

from featurehub.features import Feature
from featurehub.groups import Combinable, FeatureGroup, GroupMember
from featurehub.sdk.groups import group_of
from featurehub.sdk.tables import table

__all__ = ["FeatureList", "feature_of", "page_of"]


class FeatureList(Sequence[Feature], Combinable):
    """Features in the order of an answer, with all that is known of them; Jupyter shows a table.

    Its operators make groups (``featurehub.groups``): a list is what a server answered, a group what one steers by.

    >>> found = client.features.search("loan")
    >>> found[:3] | client.feature("formal")
    FeatureGroup(banking: loan, deposit | formal)

    Attributes:
        next: Cursor of the page that follows; None on the last page.
        groups: The groups that a search found, best first.
        missing: The indices that were looked up and are of no feature.
    """

    __hash__ = None  # type: ignore[assignment]

    def __init__(
        self, features: Iterable[Feature] = (), next: str | None = None, groups: Iterable[FeatureGroup] = (),
        missing: Iterable[int] = (),
    ) -> None:  # fmt: skip
        self._features = tuple(features)
        self.next = next
        self.groups = tuple(groups)
        self.missing = tuple(missing)

    def parts(self) -> tuple[GroupMember, ...]:
        """Its features, each with weight 1.

        >>> weights = [part.weight for part in client.features.search("loan").parts()]
        """
        return tuple(part for each in self._features for part in each.parts())

    def pick(self, places: Iterable[int]) -> "FeatureList":
        """The features at these places, in this order. Raises IndexError.

        >>> client.features.lookup(["pirate", "formal", "banking"]).pick([2, 0])
        FeatureList([banking: loan, deposit, pirate])
        """
        return FeatureList(self._features[at] for at in places)

    @overload
    def __getitem__(self, at: int) -> Feature: ...
    @overload
    def __getitem__(self, at: slice) -> "FeatureList": ...
    def __getitem__(self, at: int | slice) -> "Feature | FeatureList":
        return FeatureList(self._features[at]) if isinstance(at, slice) else self._features[at]

    def __len__(self) -> int:
        return len(self._features)

    def __eq__(self, other: object) -> bool:
        """Whether the other list has the same features in the same order."""
        return isinstance(other, FeatureList | list) and [*self] == [*other]

    def __repr__(self) -> str:
        return f"FeatureList([{', '.join(each.label or each.id for each in self)}])"

    def _repr_html_(self) -> str:
        heads = ("id", "label", "label score", "strength", "state", "relevance")
        return table(
            heads, [(each.id, each.label, each.label_score, each.strength, each.state, each.relevance) for each in self]
        )


def feature_of(row: Any) -> Feature:
    """A feature from JSON. Unknown keys are left out, since a newer server may send more."""
    return Feature.model_validate(row, extra="ignore")


def page_of(body: Any) -> FeatureList:
    """A list of features from JSON."""
    groups = map(group_of, body.get("groups", ()))
    return FeatureList(map(feature_of, body["data"]), body.get("next"), groups, body.get("missing", ()))
