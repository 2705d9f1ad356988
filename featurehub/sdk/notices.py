"""What all answers of the features API have alike: warnings."""

from collections.abc import Mapping
from typing import Any

__all__ = ["warnings_of"]


def warnings_of(body: Mapping[str, Any]) -> tuple[str, ...]:
    """What the server warned of."""
    return tuple(each["message"] for each in body["warnings"])
