"""Groups: several features, each with a weight, that are set like one feature. A server keeps some under a name.

A concept is often split over several latents (Bricken et al. 2023, "Towards Monosemanticity", on feature splitting).
Of a group that is set to weight w, a member of weight m is edited with weight w · m.

Features, lists of them and groups are combined by operators, and what comes out is a group that no server keeps yet:

    a | b           the features of either          0.5 * a, -a     their weights times a number
    a & b           the features of both            a + b, a - b    their weights added, or taken away

A feature has weight 1. In ``|`` and ``&`` the left side decides the weight of a feature that is on both. In ``+`` and
``-`` a feature that is on one side alone has weight 0 on the other, so that ``a - b`` steers away from b; what comes to
weight 0 drops out. A group is as active as its most active feature: ``(a | b) > 0.2`` holds where any of them is above
0.2, and ``(a | b) < 0.2`` where all are below.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from typing import Literal, Self, overload

from pydantic import Field, model_validator

from featurehub.conditions import FeatureCondition, FeatureWhen, Op
from featurehub.errors import InvalidInput
from featurehub.settings import Frozen, Limits

__all__ = ["DESCRIPTION_CHARS", "GROUPS_MAX", "MEMBERS_MAX", "Combinable", "FeatureGroup", "GroupMember"]

MEMBERS_MAX = Limits().edits
"""Most members of a stored group: more could not be edited in one request."""
GROUPS_MAX = 1000
"""Most groups of an owner."""
DESCRIPTION_CHARS = 1000
DIGITS = 12
"""Weights are rounded to so many, so that 0.1 + 0.2 - 0.3 is 0."""


class Combinable(ABC):
    """What can be combined into a group: a feature, features that are listed, a group, a member of one.

    >>> pirate, formal, banking = client.features.lookup(["pirate", "formal", "banking"])
    >>> variant = Variant("demo").set(pirate - 0.5 * formal, 0.6).set_when((pirate | banking) > 0.2, {formal: 0.4})
    """

    @abstractmethod
    def parts(self) -> "tuple[GroupMember, ...]":
        """Its features, each with its weight.

        >>> (client.feature("pirate") | client.feature("formal")).parts()[1].label
        'formal'
        """

    def __or__(self, other: "Combinable") -> "FeatureGroup":
        """The features of either; one of both keeps its weight on the left."""
        if not isinstance(other, Combinable):
            return NotImplemented
        own = by_id(self)
        return FeatureGroup(members=tuple((own | by_id(other) | own).values()))

    def __and__(self, other: "Combinable") -> "FeatureGroup":
        """The features of both, with their weights on the left."""
        if not isinstance(other, Combinable):
            return NotImplemented
        own, theirs = by_id(self), by_id(other)
        return FeatureGroup(members=tuple(each for id, each in own.items() if id in theirs))

    def __add__(self, other: "Combinable") -> "FeatureGroup":
        """The sum of the weights. Raises InvalidInput where one is beyond 1."""
        if not isinstance(other, Combinable):
            return NotImplemented
        own, theirs = by_id(self), by_id(other)
        return weighed((each, weight(own.get(id)) + weight(theirs.get(id))) for id, each in (own | theirs).items())

    def __sub__(self, other: "Combinable") -> "FeatureGroup":
        """The difference of the weights. Raises InvalidInput where one is beyond 1."""
        return self + -1.0 * other if isinstance(other, Combinable) else NotImplemented

    def __mul__(self, factor: float) -> "FeatureGroup":
        """The weights times a number. Raises InvalidInput where one is beyond 1."""
        if isinstance(factor, bool) or not isinstance(factor, int | float):
            return NotImplemented
        return weighed((each, factor * each.weight) for each in by_id(self).values())

    __rmul__ = __mul__

    def __neg__(self) -> "FeatureGroup":
        return -1.0 * self

    def __gt__(self, value: float) -> FeatureCondition | FeatureWhen:
        """The condition that a feature of it is more active than this share of its largest activation, in [0, 1]."""
        return self._compared(Op.ABOVE, value)

    def __lt__(self, value: float) -> FeatureCondition | FeatureWhen:
        """The condition that each feature of it is less active than this share of its largest activation, in [0, 1]."""
        return self._compared(Op.BELOW, value)

    def _compared(self, op: Op, value: object) -> FeatureCondition | FeatureWhen:
        if isinstance(value, bool) or not isinstance(value, int | float):
            return NotImplemented
        named = by_id(self).values()
        if not named:
            raise InvalidInput("a group without features is never active: there is nothing to wait for")
        if not 0.0 <= value <= 1.0:
            called = " or ".join(repr(each.label or each.id) for each in named)
            raise InvalidInput(f"{value} is no share of the largest activation of {called}; give one in [0, 1]")
        found = tuple(FeatureCondition(feature=each.id, op=op, value=value) for each in named)
        if len(found) == 1:
            return found[0]
        return FeatureWhen(any=found) if op is Op.ABOVE else FeatureWhen(all=found)


class GroupMember(Frozen, Combinable):
    """A feature of a group.

    >>> client.groups.get("sea talk")[1].weight
    -0.5

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

    def parts(self) -> "tuple[GroupMember, ...]":
        """Itself.

        >>> member = client.groups.get("sea talk")[1]
        >>> member.parts() == (member,)
        True
        """
        return (self,)

    def __str__(self) -> str:
        called = self.label or self.id
        return called if self.weight == 1.0 else f"{self.weight:g} * {called}"


class FeatureGroup(Frozen, Combinable):
    """Several features, each with a weight; iterating yields these. What is stored has a name and an id.

    >>> group = client.feature("pirate") | -0.5 * client.feature("formal")
    >>> group
    FeatureGroup(pirate | -0.5 * formal)
    >>> group == client.groups.save("at sea", group)[:]
    True

    Attributes:
        object: Always "group".
        id: Derived from the owner and the name, so that it is the same in every database; "" of one that is not stored.
        name: What a request calls it; "" of one that is not stored.
        owner: Who alone knows it; "" is everyone.
        description: What it is for.
        method: How its members were found, such as "by hand".
        created: When it was saved, ISO 8601.
        members: Its features, of one SAE or of several: 1 to 32 of a stored one.
    """

    object: Literal["group"] = "group"
    id: str = ""
    name: str = ""
    owner: str = ""
    description: str = ""
    method: str = "by hand"
    created: str = ""
    members: tuple[GroupMember, ...]

    @model_validator(mode="after")
    def check(self) -> Self:
        """Refuses a stored group of no members, or of more than one request could edit."""
        if self.id and not 1 <= len(self.members) <= MEMBERS_MAX:
            raise ValueError(f"a stored group has 1 to {MEMBERS_MAX} members, not {len(self.members)}")
        return self

    def parts(self) -> tuple[GroupMember, ...]:
        """Its members.

        >>> [each.label for each in client.groups.get("sea talk").parts()]
        ['pirate', 'formal']
        """
        return self.members

    def pick(self, places: Iterable[int]) -> "FeatureGroup":
        """The members at these places, in this order. Raises IndexError.

        >>> client.groups.get("sea talk").pick([1])
        FeatureGroup(-0.5 * formal)
        """
        return FeatureGroup(members=tuple(self.members[at] for at in places))

    @overload
    def __getitem__(self, at: int) -> GroupMember: ...
    @overload
    def __getitem__(self, at: slice) -> "FeatureGroup": ...
    def __getitem__(self, at: int | slice) -> "GroupMember | FeatureGroup":
        return FeatureGroup(members=self.members[at]) if isinstance(at, slice) else self.members[at]

    def __iter__(self) -> Iterator[GroupMember]:  # type: ignore[override]
        return iter(self.members)

    def __len__(self) -> int:
        return len(self.members)

    def __contains__(self, feature: Combinable) -> bool:
        """Whether all features of this are members, whatever their weights."""
        return by_id(feature).keys() <= by_id(self).keys()

    def __eq__(self, other: object) -> bool:
        """Whether both are the same stored group, whatever its members are by now, or have the same members."""
        return isinstance(other, FeatureGroup) and self._identity == other._identity

    def __hash__(self) -> int:
        return hash(self._identity)

    @property
    def _identity(self) -> object:
        return self.id or frozenset((each.id, each.weight) for each in self.members)

    def __repr__(self) -> str:
        name = f"{self.name!r}: " if self.name else ""
        return f"FeatureGroup({name}{' | '.join(map(str, self.members))})"

    __str__ = __repr__


def by_id(features: Combinable) -> dict[str, GroupMember]:
    """Each of the features once, by its id, with its first weight."""
    found: dict[str, GroupMember] = {}
    for each in features.parts():
        found.setdefault(each.id, each)
    return found


def weight(member: GroupMember | None) -> float:
    return 0.0 if member is None else member.weight


def weighed(members: Iterable[tuple[GroupMember, float]]) -> FeatureGroup:
    """The members with these weights, but for those of weight 0. Raises InvalidInput where one is beyond 1."""
    found = ((each, round(weight, DIGITS)) for each, weight in members)
    return FeatureGroup(members=tuple(with_weight(each, weight) for each, weight in found if weight != 0.0))


def with_weight(member: GroupMember, weight: float) -> GroupMember:
    if not -1.0 <= weight <= 1.0:
        raise InvalidInput(
            f"{member.label or member.id!r} would have weight {weight:g} in this group; it must lie in [-1, 1]: scale "
            "the group down, such as by 0.5 * group"
        )
    return member.model_copy(update={"weight": weight})
