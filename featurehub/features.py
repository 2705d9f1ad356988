"""Values that every part of featurehub shares: features, edits as people write them, edits as the engine runs them.

An *edit* names a feature and a weight on the calibrated scale; the store resolves it to a *latent edit*, which names
an index in one SAE and the raw number that the forward pass uses. A *steering* is all latent edits of one request.
"""

import hashlib
import math
import re
import unicodedata
from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from pydantic import Field, ValidationError

from featurehub.errors import InvalidEdit
from featurehub.settings import Frozen, Limits

__all__ = [
    "AppliedEdit",
    "Edit",
    "Feature",
    "LatentEdit",
    "Mode",
    "OnStale",
    "Positions",
    "State",
    "SteerOptions",
    "Steering",
    "parse_edits",
    "slugify",
]


class Mode(StrEnum):
    """What an edit does to its latent's activation a (see ``featurehub.steering``)."""

    NUDGE = "nudge"
    PIN = "pin"
    MUL = "mul"
    ABLATE = "ablate"


class Positions(StrEnum):
    """Which tokens of a request are steered; decided per token by its position, not by the scheduler's phase."""

    ALL = "all"
    PROMPT = "prompt"
    GENERATED = "generated"


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

    strength:     raw nudge coefficient that weight 1.0 stands for; None where it was never calibrated
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

    def __eq__(self, other: object) -> bool:
        """Two views of one feature are the same feature, whatever a search said of them."""
        return isinstance(other, Feature) and self.id == other.id

    def __hash__(self) -> int:
        return hash(self.id)


class Edit(Frozen):
    """One feature's weight as a client writes it: ``0.7`` or ``{"mode": "pin", "weight": 0.5}``.

    weight: in [-1, 1]; required for every mode but ``ablate``
    """

    mode: Mode = Mode.NUDGE
    weight: float | None = None


class SteerOptions(Frozen):
    """The ``steer`` object of a request."""

    positions: Positions = Positions.ALL
    on_stale: OnStale | None = None


class LatentEdit(Frozen):
    """One edit as the forward pass runs it.

    latent: index in the SAE of the hook point
    value:  nudge: coefficient of W_dec[latent]; pin: target activation; mul: factor; ablate: unused, 0
    """

    latent: int = Field(ge=0)
    mode: Mode
    value: float = 0.0


class Steering(Frozen):
    """All latent edits of one request, in the canonical form that crosses into the engine.

    hook:     id of the SAE (its content hash) whose hook point is edited
    edits:    at most ``Limits.edits``
    dose_max: bound on ‖Δ‖/‖x‖ per token
    report:   key under which the worker keeps this request's counts until they are fetched; "" for none
    top_k:    how many of each token's strongest features to report; 0 for none
    capture:  whether to keep the stream itself of every token, for whoever runs the engine in its own process
    """

    hook: str
    edits: tuple[LatentEdit, ...] = ()
    positions: Positions = Positions.ALL
    dose_max: float = Field(default=1.0, gt=0.0)
    report: str = ""
    top_k: int = Field(default=0, ge=0, le=64)
    capture: bool = False

    @property
    def reads(self) -> bool:
        return self.capture or self.top_k > 0

    def to_json(self) -> str:
        return self.model_dump_json()

    def salt(self) -> str:
        """Names the KV blocks that this steering produces: equal edits share a cache, others never do.

        Empty when the stream is left alone, so that such a request shares the unsteered cache. A request that reads
        has a salt of its own: every one of its tokens must be computed.
        """
        if not self.edits and not self.reads:
            return ""
        own = {} if self.reads else {"report": ""}
        return hashlib.sha256(self.model_copy(update=own).to_json().encode()).hexdigest()


class AppliedEdit(Frozen):
    """What one edit of a request came to, for the response."""

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
