"""The ``features`` object of a request, checked by the client that sends it and the server that takes it."""

import math
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from featurehub.errors import InvalidEdit
from featurehub.features import Edit, Mode
from featurehub.settings import Limits, reason

__all__ = ["parse_edits"]


def parse_edits(features: object, limits: Limits) -> dict[str, Edit]:
    """Checks the ``features`` object of a request.

    Args:
        features: ``{name: weight | {"mode", "weight", "when"}}``.
        limits: Bounds on the number of edits, their weights and their names.

    Returns:
        The edits by name.

    Raises:
        InvalidEdit: Something is not valid. The message names the key, the bound and what to write instead.
    """
    if not isinstance(features, Mapping):
        raise InvalidEdit('"features" must be an object of {name: weight}, e.g. {"pirate": 0.7}', param="features")
    if len(features) > limits.edits:
        raise InvalidEdit(
            f"{len(features)} edits in one request; at most {limits.edits} are allowed. Send fewer features.",
            param="features",
        )
    return {str(name): parse_edit(str(name), value, limits) for name, value in features.items()}


def parse_edit(name: str, value: object, limits: Limits) -> Edit:
    """Checks one entry of ``features``.

    Raises:
        InvalidEdit: The name, the mode, the weight or the condition is not valid.
    """
    param = f"features.{name[: limits.name_chars]}"
    if not name or len(name) > limits.name_chars:
        raise InvalidEdit(
            f"a feature's name has 1 to {limits.name_chars} characters, not {len(name)}", param="features"
        )
    fields: Mapping[str, Any] = value if isinstance(value, Mapping) else {"weight": value}
    if isinstance(fields.get("weight"), bool | str):
        raise InvalidEdit(f"the weight of {name!r} must be a number", param=param)
    try:
        edit = Edit(**fields)
    except (ValidationError, TypeError) as error:
        raise InvalidEdit(f"the edit of {name!r} is not valid: {reason(error)}", param=param) from None
    return check_weight(name, edit, limits, param)


def check_weight(name: str, edit: Edit, limits: Limits, param: str) -> Edit:
    """The edit itself. Raises InvalidEdit where its weight is missing or out of bounds."""
    if edit.mode is Mode.ABLATE:
        return edit
    if edit.weight is None:
        raise InvalidEdit(
            f"the edit of {name!r} has no weight; give one in [-{limits.weight}, {limits.weight}]", param=param
        )
    if not math.isfinite(edit.weight) or abs(edit.weight) > limits.weight:
        raise InvalidEdit(
            f"the weight of {name!r} is {edit.weight}; it must lie in [-{limits.weight}, {limits.weight}]", param=param
        )
    return edit
