"""Groups: a name that stands for several features, each with a weight, and is set like one feature.

A concept is often split over several latents (Bricken et al. 2023, "Towards Monosemanticity", on feature splitting).
Of a group that is set to weight w, a member of weight m is edited with weight w · m.
"""

from typing import Annotated, Literal, NamedTuple

from pydantic import Field

from featurehub.features import Feature
from featurehub.settings import Frozen, Limits

__all__ = ["DESCRIPTION_CHARS", "GROUPS_MAX", "MEMBERS_MAX", "FeatureGroup", "GroupMember", "ResolvedGroup"]

MEMBERS_MAX = Limits().edits
"""Most members of a group: more could not be edited in one request."""
GROUPS_MAX = 1000
"""Most groups of an owner."""
DESCRIPTION_CHARS = 1000


class GroupMember(Frozen):
    """A feature of a group.

    Attributes:
        id: Id of the feature.
        artifact: Id of its SAE.
        latent: Index in that SAE.
        label: Its label; of one that is gone, the label that it had when the group was saved.
        weight: What the group's weight is multiplied by, in [-1, 1] and not 0.
        is_gone: Whether the feature is not registered any more. The group cannot be used then.
    """

    id: str
    artifact: str
    latent: int
    label: str
    weight: float = Field(ge=-1.0, le=1.0)
    is_gone: bool = False


class FeatureGroup(Frozen):
    """Several features under one name.

    Attributes:
        object: Always "group".
        id: Derived from the owner and the name, so that it is the same in every database.
        name: What a request calls it.
        owner: Who alone knows it; "" is everyone.
        description: What it is for.
        method: How its members were found, such as "by hand".
        created: When it was saved, ISO 8601.
        members: Its features, of one SAE or of several.
    """

    object: Literal["group"] = "group"
    id: str
    name: str
    owner: str = ""
    description: str = ""
    method: str = "by hand"
    created: str = ""
    members: Annotated[tuple[GroupMember, ...], Field(min_length=1, max_length=MEMBERS_MAX)]

    def __eq__(self, other: object) -> bool:
        """Whether both are the same group, whatever its members are by now."""
        return isinstance(other, FeatureGroup) and self.id == other.id

    def __hash__(self) -> int:
        return hash(self.id)


class ResolvedGroup(NamedTuple):
    """A group that a name means, and its features in the order of its members."""

    group: FeatureGroup
    features: tuple[Feature, ...]
