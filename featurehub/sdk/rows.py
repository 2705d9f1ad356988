"""What all answers of the server have alike: rows of values, and warnings."""

from collections.abc import Mapping
from typing import Any

from featurehub.settings import Frozen

__all__ = ["known", "warnings_of"]


def known(kind: type[Frozen], row: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a value that a row has. Unknown keys are left out, since a newer server may send more."""
    return {name: row[name] for name in kind.model_fields if name in row}


def warnings_of(body: Mapping[str, Any]) -> tuple[str, ...]:
    """What the server warned of."""
    return tuple(each["message"] for each in body["warnings"])
