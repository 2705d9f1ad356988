"""Goodfire's ``controller`` as our own keys of a completion.

1. An intervention is an edit of each of its features. ``nudge`` and ``pin`` have our scale; ``mul`` by v is our weight
   v - 1.
2. A scope's interventions wait for its condition, and for those of the scopes around it.
3. A scope with an event ends the answer where its condition holds (``abort_when``).
4. A condition on several features waits for any of them. Its value is a share of each one's largest activation.

What we cannot do as it is meant is refused with what to write instead, and nothing is left out in silence.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import BeforeValidator, Field

from api.goodfire.numbers import address_of
from featurehub.errors import InvalidEdit, InvalidInput
from featurehub.settings import Frozen

__all__ = ["Controller", "native"]

MANY = 64
"""Features, interventions, conditions or scopes in one list."""


def unheard_of(value: object) -> object:
    """Refuses what our engine has no counterpart of."""
    if value is not None:
        raise ValueError("this server has nothing like it; leave it out")
    return value


Unsupported = Annotated[None, BeforeValidator(unheard_of)]


class NamedFeature(Frozen):
    """A feature as the client names it. Its UUID decides; label and number are for readers."""

    uuid: UUID
    label: str = ""
    index_in_sae: int = 0
    max_activation_strength: Literal[1] = 1


class FeatureGroup(Frozen):
    """Features."""

    features: tuple[NamedFeature, ...] = Field(min_length=1, max_length=MANY)


class Intervention(Frozen):
    """An edit of some features."""

    mode: Literal["nudge", "pin", "mul"]
    features: FeatureGroup
    value: float


class Conditional(Frozen):
    """Whether any of some features is above or below a value."""

    left_hand: FeatureGroup
    right_hand: float | dict[str, Any]
    operator: Literal[">", "<", ">=", "<=", "==", "!="]


class ConditionalGroup(Frozen):
    """Several conditions that hold together, or of which one holds."""

    conditionals: tuple[Conditional, ...] = Field(min_length=1, max_length=MANY)
    operator: Literal["AND", "OR"] = "AND"


class Scope(Frozen):
    """What happens where a condition holds."""

    conditionals: ConditionalGroup
    controller: "Controller"
    is_active: Literal[False] = False
    event_name: str | None = Field(default=None, min_length=1, max_length=200)


class Controller(Frozen):
    """Interventions, and scopes with interventions of their own."""

    interventions: tuple[Intervention, ...] = Field(default=(), max_length=MANY)
    scopes: tuple[Scope, ...] = Field(default=(), max_length=MANY)
    name: str | None = None
    nonzero_strength_threshold: Unsupported = None
    min_nudge_entropy: Unsupported = None
    max_nudge_entropy: Unsupported = None


When = Mapping[str, Any] | None
"""A condition as our own requests have it; None where there is none."""


def native(controller: Controller | None) -> dict[str, Any]:
    """The keys of a request of ours that ask for the same.

    Raises:
        InvalidEdit: A feature comes twice, or an intervention's value is out of bounds.
        InvalidInput: A condition cannot be written as one of ours.
        FeatureNotFound: A UUID is none of ours.
    """
    features: dict[str, Any] = {}
    aborts: list[dict[str, Any]] = []
    for each, when in scoped(controller or Controller(), None):
        if isinstance(each, Scope):
            aborts.append({"when": when, "event": each.event_name})
            continue
        for feature in each.features.features:
            address = address_of(feature.uuid)
            if address in features:
                raise InvalidEdit(TWICE.format(feature.label or feature.uuid), param="controller.interventions")
            features[address] = edit(each, when)
    return {"features": features, "abort_when": aborts}


TWICE = (
    "{!r} is set twice. A request edits each feature once: set it in one place, under one condition. (Goodfire's "
    "`Variant.from_json` leaves a second edit behind when the same feature is set again; begin with a new variant.)"
)


def scoped(controller: Controller, when: When) -> Iterator[tuple[Intervention | Scope, When]]:
    """Every intervention, and every scope with an event, with the condition under which it stands."""
    for each in controller.interventions:
        yield each, when
    for scope in controller.scopes:
        inner = both(when, condition(scope.conditionals))
        if scope.event_name is not None:
            yield scope, inner
        yield from scoped(scope.controller, inner)


def edit(intervention: Intervention, when: When) -> dict[str, Any]:
    """One of our edits."""
    mode, value = intervention.mode, intervention.value
    if mode == "mul" and not 0 <= value <= 2:
        raise InvalidEdit(f"a feature is multiplied by 0 to 2, not {value:g}", param="controller.interventions")
    weight = value - 1 if mode == "mul" else value
    return {"mode": mode, "weight": weight} | ({} if when is None else {"when": when})


def condition(group: ConditionalGroup) -> dict[str, Any]:
    """A condition of ours: ``all`` of some, or ``any`` of them."""
    parts = [comparisons(each) for each in group.conditionals]
    single = len(parts) == 1
    if group.operator == "AND" and not single and any(len(each) > 1 for each in parts):
        raise InvalidInput(
            "a condition on several features is met by any of them, and cannot be joined to others by AND: compare "
            "single features",
            param="controller.scopes",
        )
    kind = "any" if group.operator == "OR" or len(parts[0]) > 1 else "all"
    return {kind: [each for part in parts for each in part]}


def comparisons(conditional: Conditional) -> Sequence[dict[str, Any]]:
    """A comparison for each feature on the left."""
    value, op = conditional.right_hand, conditional.operator
    if isinstance(value, dict):
        problem = "a feature is compared with a number in [0, 1] here, not with another feature"
        raise InvalidInput(problem, param="controller.scopes")
    if op not in (">", "<"):
        raise InvalidInput(f"activations are compared by > or < here, not by {op}", param="controller.scopes")
    if not 0 <= value <= 1:
        problem = f"a condition's value is a share of the feature's largest activation, in [0, 1], not {value:g}"
        raise InvalidInput(problem, param="controller.scopes")
    return [{"feature": address_of(each.uuid), "op": op, "value": value} for each in conditional.left_hand.features]


def both(outer: When, inner: Mapping[str, Any]) -> When:
    """The condition that both hold. Raises InvalidInput where one of them has alternatives."""
    if outer is None:
        return inner
    if any(len(each.get("any", ())) > 1 for each in (outer, inner)):
        problem = "a scope inside another one needs conditions without alternatives: write them as one condition"
        raise InvalidInput(problem, param="controller.scopes")
    return {"all": [part for each in (outer, inner) for parts in each.values() for part in parts]}
