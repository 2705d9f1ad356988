"""What ends an answer, checked before it is sent."""

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from featurehub.conditions import FeatureAbort, FeatureCondition, FeatureWhen, Positions
from featurehub.errors import InvalidInput
from featurehub.settings import Limits, reason

__all__ = ["Aborts", "When", "abort_from", "abort_of", "checked_aborts", "ends"]

LIMITS = Limits()
When = FeatureCondition | FeatureWhen | Mapping[str, Any]
"""A condition: ``feature > 0.2``, several of these joined by & or |, or what a request writes for one."""
Aborts = When | FeatureAbort | Sequence[When | FeatureAbort]
"""What ends an answer: a condition or abort, or several."""


def abort_of(when: When, event: str, positions: Positions | str = Positions.GENERATED) -> FeatureAbort:
    """What ends an answer. Raises InvalidInput where the condition is not valid."""
    return abort_from({"when": when, "event": event, "positions": positions})


def abort_from(abort: FeatureAbort | Mapping[str, Any]) -> FeatureAbort:
    """What ends an answer, as a request writes it. Raises InvalidInput where it is not valid."""
    try:
        return FeatureAbort.model_validate(abort)
    except ValidationError as error:
        raise InvalidInput(f"this abort is not valid: {reason(error)}", param="abort_when") from None


def checked_aborts(aborts: Sequence[FeatureAbort]) -> tuple[FeatureAbort, ...]:
    """Each of them once. Raises InvalidInput where there are too many."""
    found = tuple(dict.fromkeys(aborts))
    if len(found) > LIMITS.aborts:
        raise InvalidInput(f"{len(found)} aborts; at most {LIMITS.aborts} are allowed", param="abort_when")
    return found


def ends(aborts: Aborts | None) -> list[object]:
    """``abort_when`` as JSON types. Raises InvalidInput where one is not valid."""
    if aborts is None:
        return []
    several: Any = aborts if isinstance(aborts, list | tuple) else [aborts]
    whens = (FeatureCondition, FeatureWhen)
    found = (abort_from({"when": each} if isinstance(each, whens) else each) for each in several)
    return [each.model_dump(mode="json") for each in found]
