"""Values that every part of featurehub shares: features, and edits as people write them.

An *edit* names a feature and a weight on the calibrated scale; it is resolved to a *latent edit*
(``featurehub.edits``), which names an index in one SAE and the raw number that the forward pass uses.
"""

import re
import unicodedata
from enum import StrEnum

from pydantic import Field

from featurehub.conditions import FeatureWhen, Positions
from featurehub.settings import Frozen

__all__ = [
    "AppliedEdit",
    "Edit",
    "Feature",
    "Mode",
    "OnStale",
    "State",
    "SteerOptions",
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


def slugify(text: str, limit: int = 80) -> str:
    """A name for URLs and keys: lower-case ASCII words joined by hyphens, at most ``limit`` characters."""
    ascii_text = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    return re.sub(r"[^a-z0-9]+", "-", ascii_text.lower()).strip("-")[:limit].rstrip("-")
