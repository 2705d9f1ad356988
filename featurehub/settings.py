"""Frozen configuration values, and where featurehub keeps its files."""

import os
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

__all__ = ["FRONTEND", "OPERATOR_KEY", "Frozen", "Limits", "home", "reason"]

FRONTEND = "FEATUREHUB_FRONTEND"
"""The environment variable in which `featurehub serve` tells the server's frontend what it serves, as JSON. Not through
vLLM's ``additional_config``: that is hashed into the compile cache, so that another database would compile anew."""

OPERATOR_KEY = "FEATUREHUB_OPERATOR_KEY"
"""The environment variable with the key that operators' requests carry, for the server and for the command line."""


class Frozen(BaseModel):
    """Base of every configuration and wire value. It is immutable, and refuses unknown keys, NaN and infinity."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Limits(Frozen):
    """Bounds on what one request may ask for.

    Attributes:
        edits: Largest number of edits in one request.
        aborts: Largest number of entries in ``abort_when``.
        weight: Largest |weight| on the calibrated scale.
        dose_max: Largest ‖Δ‖/‖x‖ at one token and hook point. Beyond it the guard scales Δ down, and the answer says
            so.
        name_chars: Longest feature name, in characters.
    """

    edits: int = 32
    aborts: int = 8
    weight: float = 1.0
    dose_max: float = 1.0
    name_chars: int = 200


def reason(error: Exception) -> str:
    """The first complaint of a pydantic error in one line; the text of any other error."""
    if isinstance(error, ValidationError):
        first = error.errors()[0]
        return f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
    return str(error)


def home() -> Path:
    """The folder for built artifacts and databases: ``$FEATUREHUB_HOME`` or ``~/.cache/featurehub``."""
    return Path(os.environ.get("FEATUREHUB_HOME") or Path.home() / ".cache" / "featurehub").expanduser()
