"""Conditions as people write them: another feature's activation above or below a value.

{"feature": "banking", "op": ">", "value": 0.2}
{"all": [{"feature": "banking", "value": 0.2}, {"feature": "loans", "op": "<", "value": 0.1, "so_far": true}]}
"""

from collections.abc import Iterator, Mapping
from enum import StrEnum
from typing import Any

from pydantic import Field, model_validator

from featurehub.errors import InvalidInput
from featurehub.settings import Frozen

__all__ = ["LAST_POSITION", "FeatureAbort", "FeatureCondition", "FeatureWhen", "Op", "Positions"]

LAST_POSITION = 2**31 - 1
"""Larger than any token's position."""


class Op(StrEnum):
    """How an activation is compared with a value: strictly above or strictly below it."""

    ABOVE = ">"
    BELOW = "<"


class Positions(StrEnum):
    """Which tokens of a request are meant. A token's position decides, not the scheduler's phase.

    Attributes:
        ALL: Every token.
        PROMPT: Tokens of the prompt.
        GENERATED: Tokens that the model wrote.
    """

    ALL = "all"
    PROMPT = "prompt"
    GENERATED = "generated"

    def bounds(self, prompt_len: int) -> tuple[int, int]:
        """The range of positions that are meant.

        Args:
            prompt_len: Number of tokens in the prompt.

        Returns:
            The first position, and the one after the last.
        """
        first = prompt_len if self is Positions.GENERATED else 0
        return first, prompt_len if self is Positions.PROMPT else LAST_POSITION


class FeatureCondition(Frozen):
    """Whether a feature is active.

    >>> banking, formal = client.features.lookup(["banking", "formal"])
    >>> variant = Variant("demo").set("pirate", 0.7, when=(banking > 0.2) & (formal < 0.1))

    Attributes:
        feature: The feature's name or id.
        op: The comparison.
        value: Share of the feature's largest activation in training, in [0, 1]: the scale of a pin's weight.
        so_far: Whether the condition also holds at every token after one at which it was met.
    """

    feature: str = Field(min_length=1, max_length=200)
    op: Op = Op.ABOVE
    value: float = Field(ge=0.0, le=1.0)
    so_far: bool = False

    def __and__(self, other: "FeatureCondition | FeatureWhen") -> "FeatureWhen":
        """Both. Raises InvalidInput where ``other`` is ``any`` of several."""
        return FeatureWhen(all=(self, *alike(other, "all")))

    def __or__(self, other: "FeatureCondition | FeatureWhen") -> "FeatureWhen":
        """One of both. Raises InvalidInput where ``other`` is ``all`` of several."""
        return FeatureWhen(any=(self, *alike(other, "any")))

    def __bool__(self) -> bool:
        raise TypeError("a condition has no truth of its own: write & and | between conditions, not and, or, not")


def alike(when: "FeatureCondition | FeatureWhen", kind: str) -> "tuple[FeatureCondition, ...]":
    """The conditions to be joined with others of this kind. Raises InvalidInput for several of the other kind."""
    if isinstance(when, FeatureCondition):
        return (when,)
    found = tuple(when)
    if len(found) > 1 and not getattr(when, kind):
        raise InvalidInput("conditions are all of some or any of some; they nest no deeper", param="when")
    return found


def spread(value: object) -> object:
    """A single condition as ``all`` of one; anything else as it is."""
    single = isinstance(value, FeatureCondition) or (isinstance(value, Mapping) and "feature" in value)
    return {"all": [value]} if single else value


class FeatureWhen(Frozen):
    """``all`` of some conditions, or ``any`` one of them. A single condition may be written without either.

    >>> either = (client.feature("banking") > 0.2) | (client.feature("formal") > 0.5)
    >>> [each.value for each in either]
    [0.2, 0.5]

    Attributes:
        all: Conditions that must hold together.
        any: Conditions of which one must hold. Exactly one of ``all`` and ``any`` is given.
    """

    all: tuple[FeatureCondition, ...] = ()
    any: tuple[FeatureCondition, ...] = ()

    @model_validator(mode="before")
    @classmethod
    def lone(cls, value: Any) -> Any:
        """Reads a single condition as ``all`` of one."""
        return spread(value)

    @model_validator(mode="after")
    def one_kind(self) -> "FeatureWhen":
        """Refuses conditions in both ``all`` and ``any``, or in neither."""
        if bool(self.all) == bool(self.any):
            raise ValueError('give conditions in "all" or in "any"')
        return self

    def __iter__(self) -> Iterator[FeatureCondition]:  # type: ignore[override]
        return iter(self.all or self.any)

    def __and__(self, other: "FeatureCondition | FeatureWhen") -> "FeatureWhen":
        """Both. Raises InvalidInput where one of them is ``any`` of several."""
        return FeatureWhen(all=alike(self, "all") + alike(other, "all"))

    def __or__(self, other: "FeatureCondition | FeatureWhen") -> "FeatureWhen":
        """One of both. Raises InvalidInput where one of them is ``all`` of several."""
        return FeatureWhen(any=alike(self, "any") + alike(other, "any"))


class FeatureAbort(Frozen):
    """Ends an answer at the first token at which ``when`` holds.

    >>> guard = Variant("demo").abort_when(client.feature("banking") > 0.3, "bank").aborts[0]
    >>> guard.positions.value
    'generated'

    Attributes:
        when: The condition.
        event: Name that the answer reports; "" stands for the features' names. At most 200 characters.
        positions: The tokens that are watched; by default those that the model itself writes.
    """

    when: FeatureWhen
    event: str = Field(default="", max_length=200)
    positions: Positions = Positions.GENERATED

    @model_validator(mode="before")
    @classmethod
    def lone(cls, value: Any) -> Any:
        """``{"feature", "op", "value", "event"?, "positions"?}`` is short for a condition in ``when``."""
        if not isinstance(value, Mapping) or "when" in value:
            return value
        own = {key: value[key] for key in ("event", "positions") if key in value}
        return {"when": {key: item for key, item in value.items() if key not in own}, **own}

    @property
    def name(self) -> str:
        """The event, or the names of the watched features where it is empty.

        >>> Variant("demo").abort_when({"feature": "banking", "value": 0.3}).aborts[0].name
        'banking'
        """
        return self.event or ", ".join(condition.feature for condition in self.when)[:200]
