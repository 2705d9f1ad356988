"""Values that every part of featurehub shares: features, and edits as people write them.

An *edit* names a feature and a weight on the calibrated scale; it is resolved to a *latent edit*
(``featurehub.edits``), which names an index in one SAE and the raw number that the forward pass uses.
"""

import math
import re
import unicodedata
from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from pydantic import Field, ValidationError

from featurehub.conditions import FeatureWhen, Positions
from featurehub.errors import InvalidEdit
from featurehub.settings import Frozen, Limits

__all__ = [
    "AppliedEdit",
    "Edit",
    "Feature",
    "Mode",
    "OnStale",
    "State",
    "SteerOptions",
    "parse_edits",
    "slugify",
]


class Mode(StrEnum):
    """What an edit does to its latent's activation a (see ``featurehub.steering``)."""

    NUDGE = "nudge"
    PIN = "pin"
    MUL = "mul"
    ABLATE = "ablate"


class State(StrEnum):
    """How far an artifact or a feature has come from the loaded model."""

    FRESH = "fresh"
    SUSPECT = "suspect"
    STALE = "stale"
    UNCHECKED = "unchecked"


class OnStale(StrEnum):
    REFUSE = "refuse"
    WARN = "warn"


class Feature(Frozen):
    """A latent with a label, statistics and an id, as search returns it and as a request names it.

    strength:     raw nudge coefficient that weight 1.0 stands for; None where it was never calibrated or cannot write
    steerability: share of steered answers that showed the label, beyond the unsteered share, in [-1, 1]; None where it
                  was never tested
    relevance:    how well a search found it, in [0, 1]; None outside a search
    """

    id: str
    label: str
    label_version: int
    slug: str
    artifact: str
    latent: int = Field(ge=0)
    density: float
    max_activation: float
    label_score: float | None = None
    strength: float | None = None
    steerability: float | None = None
    state: State = State.UNCHECKED
    relevance: float | None = None
    aliases: tuple[str, ...] = ()

    @property
    def writes(self) -> bool:
        """False where calibration found that its decoder row is zero: no edit of it changes anything."""
        return self.strength is not None or self.steerability is None

    def __eq__(self, other: object) -> bool:
        """Two views of one feature are the same feature, whatever a search said of them."""
        return isinstance(other, Feature) and self.id == other.id

    def __hash__(self) -> int:
        return hash(self.id)


class Edit(Frozen):
    """One feature's weight as a client writes it: ``0.7`` or ``{"mode": "pin", "weight": 0.5}``.

    weight: in [-1, 1]; required for every mode but ``ablate``
    when:   the tokens at which it is in force; None for all
    """

    mode: Mode = Mode.NUDGE
    weight: float | None = None
    when: FeatureWhen | None = None


class SteerOptions(Frozen):
    """The ``steer`` object of a request."""

    positions: Positions = Positions.ALL
    on_stale: OnStale | None = None


class AppliedEdit(Frozen):
    """What one edit of a request came to, for the response. tokens: at which it was in force"""

    id: str
    label: str
    label_version: int
    sae: str
    latent: int
    mode: Mode
    weight: float
    coefficient: float
    dose: float
    clipped: bool
    tokens: int = 0
    state: State


def parse_edits(features: object, limits: Limits) -> dict[str, Edit]:
    """The ``features`` object of a request, checked: ``{name: weight | {"weight", "mode"}}``.

    Raises InvalidEdit naming the key, the bound and what to write instead.
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
    """One entry of ``features``. Raises InvalidEdit."""
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


def reason(error: Exception) -> str:
    """The first thing that a pydantic error complains of, in one line."""
    if isinstance(error, ValidationError):
        first = error.errors()[0]
        return f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
    return str(error)


def slugify(text: str, limit: int = 80) -> str:
    """A name for URLs and keys: lower-case ASCII words joined by hyphens, at most ``limit`` characters."""
    ascii_text = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    return re.sub(r"[^a-z0-9]+", "-", ascii_text.lower()).strip("-")[:limit].rstrip("-")
